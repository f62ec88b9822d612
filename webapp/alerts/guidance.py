"""What each metric means, and what to do when it fires, in the words of the pages.  Pure.

``docs/alerts.md`` has a section for each, which says more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from webapp.alerts.values import Metric


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the number is, for whoever writes a rule; and what to do, for whoever is woken by it."""

    means: str
    advice: str


GUIDANCE: Final[Mapping[Metric, Guidance]] = {
    Metric.JOB_FAILURE_RATE: Guidance(
        "The share of the attempts of a job type that failed for good or were lost within the "
        "window, in percent. One alert for each type.",
        "Look at its newest failed job: the class of its error says whether the service that it "
        "calls is down, or the job itself is at fault. Pause the type while you look, so that no "
        "more of it fails; then retry its dead letters.",
    ),
    Metric.BREAKER_OPEN: Guidance(
        "1 while a breaker is open, half open or forced open, 0 while it is closed. One alert for "
        "each breaker.",
        "The service behind it keeps failing, and calls to it are refused. Look at the last error, "
        "and ask whoever runs the service. Once it answers, the breaker closes by itself; what "
        "waits for it goes on then.",
    ),
    Metric.DEAD_LETTERS_OPEN: Guidance(
        "How many jobs were given up, and nobody has retried, resolved or discarded.",
        "Look at the causes, the largest first: most of many letters have one cause. Mend it, "
        "then retry the group; resolve or discard what is not worth a retry.",
    ),
    Metric.WORKERS_ALIVE: Guidance(
        "How many workers have given a sign of life lately.",
        "While none is alive no job runs and no schedule fires. Start a worker, or look at why it "
        "ended: its log, and the memory and disk of its host. What it ran is put back once its "
        "lease is over.",
    ),
    Metric.OLDEST_QUEUED_SECONDS: Guidance(
        "For how long the oldest job that is due has waited.",
        "Look for a paused queue, for a worker that does not serve it, and for long jobs that "
        "take all places. If the workers are simply busy, start more of them.",
    ),
    Metric.FLAGS_STALE: Guidance(
        "How often a host has reported within the window that it decided flags on a snapshot "
        "older than it may be. One alert for each host.",
        "Flags are still answered there, but changes are not seen: a kill switch would not work. "
        "Look at whether that host reaches the database, or the console that its edge asks.",
    ),
    Metric.ROLLOUT_ROLLED_BACK: Guidance(
        "How often a guard has taken a rollout back within the window. One alert for each flag.",
        "The guard has made it safe already. Look at the flag's history for what it saw, mend "
        "what the flag switches on, and begin the rollout anew.",
    ),
    Metric.IDEMPOTENCY_REPLAY_RATE: Guidance(
        "The share of the writes with an idempotency key that repeated an earlier one, in percent.",
        "A client sends the same again and again: it times out before it is answered, or does not "
        "take the answer. Nothing was done twice. Look at who repeats, and how long its requests "
        "take.",
    ),
    Metric.SCHEDULE_LATE_SECONDS: Guidance(
        "For how long a schedule has been due without having fired. One alert for each schedule.",
        "Schedules fire by a worker that has a scheduler. Look at whether one is alive, and "
        "whether its clock is right.",
    ),
    Metric.SOURCE_FAILING: Guidance(
        "1 where the last run of a source failed, 0 where it went well. One alert for each source.",
        "Look at what its last run says: the file or service may be gone, its fields may have "
        "changed, or its records may not fit. Mend that and run it again; it goes on where it "
        "stopped.",
    ),
}

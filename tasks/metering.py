"""Counts the ends of attempts for ``/metrics``, in the process that ran them.

Each count goes into a file that all processes share, at more than a microsecond apiece.  So ends
are kept until their turn is over and counted together: one that is a job of many costs next to
nothing.  What a worker that is killed has not counted yet is in the ledger all the same.
"""

from collections import Counter as Tally
from collections import defaultdict
from typing import NamedTuple

from webapp.jobs.values import Claim, Outcome
from webapp.metrics import JOB_DURATION, JOB_RETRIES, JOB_RUNS, JOB_WAIT


class Retried(NamedTuple):
    """Why an attempt is to be repeated, and how its wait grows."""

    error_class: str
    strategy: str


class _End(NamedTuple):
    job_type: str
    outcome: Outcome
    seconds: float
    wait: float | None
    retry: Retried | None


# Among threads too: a step of a list is one step.
_ends: list[_End] = []


def meter(claim: Claim, outcome: Outcome, seconds: float, retry: Retried | None) -> None:
    """Keep the end of an attempt that this worker has settled."""
    due = claim.due_at
    wait = None if due is None else max(0.0, (claim.started_at - due).total_seconds())
    _ends.append(_End(claim.type, outcome, seconds, wait, retry))


def count_ends() -> None:
    """Count what has been kept."""
    ended = []
    while _ends:
        try:
            ended.append(_ends.pop())
        except IndexError:
            # Another thread took the last one.
            break
    durations: defaultdict[str, list[float]] = defaultdict(list)
    waits: defaultdict[str, list[float]] = defaultdict(list)
    for end in ended:
        durations[end.job_type].append(end.seconds)
        if end.wait is not None:
            waits[end.job_type].append(end.wait)
    for (job_type, outcome), number in Tally((end.job_type, end.outcome) for end in ended).items():
        JOB_RUNS.labels(job_type, outcome.value).inc(number)
    for histogram, amounts in ((JOB_DURATION, durations), (JOB_WAIT, waits)):
        for job_type, found in amounts.items():
            histogram.labels(job_type).observe_many(found)
    for end in ended:
        if end.retry is not None:
            JOB_RETRIES.labels(end.job_type, *end.retry).inc()

"""Counts evaluations in this process, and tells of them every ten seconds.

Each ready-made decision bears its own counter, a step of an ``itertools.count``, which is atomic:
nothing is lost between threads and nobody waits.  A thread reads how far each counter has come,
keeps the differences by hour, and hands them to a sink, which adds them to what all processes
share.

While the sink is away the differences are kept, up to a bound.  A fork copies what the parent has
counted: the child counts on from there, for the parent tells what came before, and starts a thread
of its own.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count as counter
from multiprocessing.util import Finalize
from typing import Final, Protocol

from webapp import clock
from webapp.flags.batches import Span, UsageBatch, UsageKey, parts_of
from webapp.flags.evaluation import Ready
from webapp.flags.sampling import SubjectSample, joined
from webapp.flags.values import MAX_NAME, Decision
from webapp.logs import get_logger
from webapp.metrics import FLAG_CACHE_REQUESTS, FLAG_EVALUATIONS

log = get_logger(__name__)

FLUSH_SECONDS: Final = 10.0
LAST_WORD_SECONDS: Final = 2.0
# Unknown names come from callers: without a bound they could fill the memory.
MAX_UNKNOWN: Final = 200
# Rows kept while the database is away; a thousand flags for two days stay below it.
MAX_PENDING: Final = 100_000

# So many rows of a kind are told at once: others take no more, see ``reports``.
MOST_TOLD: Final = 2_000

_HOUR: Final = timedelta(hours=1)

# Flag, environment, variant, enabled, reason.
_CellKey = tuple[str, str, str | None, bool, str]


class UsageSink(Protocol):
    """Where the counts of a process go."""

    def tell(self, batch: UsageBatch) -> None:
        """Add a batch to what all processes share; whatever it raises, it is told again later."""

    def begin_process(self) -> None:
        """Let go of connections that belong to the parent of this process."""

    def close(self) -> None:
        """Let go of connections."""


class UsageCounter:
    """What one process has evaluated and not yet told.

    What :meth:`ready_for` and :meth:`sample_of` return, and :meth:`note_unknown`, may be used from
    any thread, and never wait for the sink.
    """

    def __init__(self, sink: UsageSink, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._sink = sink
        self._flush_seconds = flush_seconds
        self._failing = False
        self._cells: dict[_CellKey, counter[int]] = {}
        self._samples: dict[str, SubjectSample] = {}
        self._begin_process()
        _counters.add(self)

    def _begin_process(self) -> None:
        """Forget what does not outlive a fork: what was counted before it, thread and locks.

        The counters themselves go on, since ready-made decisions bear them.
        """
        # How far each counter had come when it was last read, that reading included.
        self._read = {key: next(cell) + 1 for key, cell in self._cells.items()}
        for sample in self._samples.values():
            sample.take()
        self._unknown: dict[str, counter[int]] = {}
        self._counts: dict[UsageKey, int] = {}
        self._uses: dict[str, Span] = {}
        self._asked: dict[str, tuple[int, Span]] = {}
        self._subjects: dict[tuple[str, datetime], list[int]] = {}
        self._collected_at: datetime | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._flushing = threading.Lock()
        self._stopped = threading.Event()
        self._sink.begin_process()

    def ready_for(self, flag: str, environment: str) -> Ready:
        """Return what gives each decision of a flag its counter, the same one every time."""

        def ready(decision: Decision) -> Decision:
            enabled, reason, variant = decision.enabled, decision.reason, decision.variant
            key = (flag, environment, variant, enabled, reason)
            cell = self._cells.get(key) or self._cells.setdefault(key, counter())
            # By position: replace() costs several times as much, and flags have many answers.
            return Decision(enabled, reason, decision.rule, variant, decision.value, cell)

        return ready

    def sample_of(self, flag: str) -> SubjectSample:
        """Return the sample of the subjects that a flag is asked for."""
        return self._samples.setdefault(flag, SubjectSample())

    def note_unknown(self, name: str) -> None:
        """Count that somebody asked for a flag that there is not."""
        try:
            next(self._unknown[name])
        except KeyError:
            if len(self._unknown) < MAX_UNKNOWN and is_storable(name, MAX_NAME):
                next(self._unknown.setdefault(name, counter()))

    def start(self) -> None:
        """Start the thread that tells, where this process has none."""
        with self._starting:
            if self._thread is None:
                self._collected_at = clock.now()
                thread = threading.Thread(
                    target=self._run, args=(self._stopped,), name="flag-usage", daemon=True
                )
                thread.start()
                self._thread = thread
                # Processes that multiprocessing forked end without the handlers of atexit.
                Finalize(None, _end_process, exitpriority=1)

    def flush(self) -> bool:
        """Tell now; a failure goes to the log once, and is tried again later."""
        with self._flushing:
            batch = self._collect(clock.now())
            if not (batch.counts or batch.unknown):
                return True
            for part in parts_of(batch, MOST_TOLD):
                try:
                    self._sink.tell(part)
                except Exception as error:  # noqa: BLE001  # whatever it is, evaluation goes on
                    self._note_failure(error)
                    return False
                _meter(part)
                self._forget(part)
            self._uses = {}
            if self._failing:
                log.info("flag_usage_told_again")
            self._failing = False
            return True

    def _forget(self, told: UsageBatch) -> None:
        """Keep what is still to be told; of uses all, for each part needs those of its flags."""
        for key in told.counts:
            self._counts.pop(key, None)
        for name in told.unknown:
            self._asked.pop(name, None)
        for place in told.subjects:
            self._subjects.pop(place, None)

    def stop(self) -> None:
        """Tell what is left and end the thread; :meth:`start` would begin anew."""
        self._stopped.set()
        if self._thread is None:
            # Who told by itself has opened connections, and no thread will close them.
            self._sink.close()
        else:
            self._thread.join(LAST_WORD_SECONDS)
        # What was told without the thread has opened it too.
        self._sink.close()
        self._begin_process()

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._seconds_to_wait(clock.now())):
            self.flush()
        self.flush()
        self._sink.close()

    def _seconds_to_wait(self, now: datetime) -> float:
        """Look again at the turn of the hour at the latest: counts belong to the hour they began
        in.
        """
        to_the_hour = (_hour_of(now) + _HOUR - now).total_seconds()
        return min(self._flush_seconds, to_the_hour)

    def _collect(self, now: datetime) -> UsageBatch:
        """Read every counter, and return all that is to be told."""
        since, self._collected_at = self._collected_at or now, now
        hour, span = _hour_of(since), Span(since, now)
        for key, new in self._differences():
            name, environment, variant, enabled, reason = key
            row = UsageKey(name, hour, environment, variant or "", enabled, str(reason))
            if row in self._counts or len(self._counts) < MAX_PENDING:
                self._counts[row] = self._counts.get(row, 0) + new
            self._uses[name] = self._uses.get(name, span).reaching(now)
        for flag, sample in list(self._samples.items()):
            if taken := sample.take():
                kept = self._subjects.get((flag, hour), [])
                self._subjects[flag, hour] = joined([kept, taken])
        # What somebody counts in the old mapping after this is lost: of these nobody needs each.
        asked, self._unknown = self._unknown, {}
        for name, cell in list(asked.items())[: MAX_UNKNOWN - len(self._asked)]:
            before, known = self._asked.get(name, (0, span))
            self._asked[name] = (before + next(cell), known.reaching(now))
        return UsageBatch(self._counts, self._uses, self._asked, self._subjects)

    def _differences(self) -> Iterator[tuple[_CellKey, int]]:
        """Yield what each counter has moved since it was read; reading moves it by one."""
        # Copied in one step: who evaluates may add a counter meanwhile.
        for key, cell in list(self._cells.items()):
            reached = next(cell)
            if new := reached - self._read.get(key, 0):
                yield key, new
            self._read[key] = reached + 1

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            log.warning("flag_usage_not_told", error=type(error).__name__, rows=len(self._counts))
        self._failing = True


def _meter(told: UsageBatch) -> None:
    for key, number in told.counts.items():
        FLAG_EVALUATIONS.labels(key.flag, str(key.enabled).lower(), key.reason).inc(number)
    FLAG_CACHE_REQUESTS.labels("hit").inc(sum(told.counts.values()))


def _hour_of(when: datetime) -> datetime:
    return when.replace(minute=0, second=0, microsecond=0)


def is_storable(text: object, most: int) -> bool:
    """Tell whether it is a text that can stand in its column and on a page.

    Evaluation answers whatever it is asked with, so counting must not fail of it either.
    """
    return isinstance(text, str) and 0 < len(text) <= most and text.isprintable()


_counters: weakref.WeakSet[UsageCounter] = weakref.WeakSet()


def _after_fork() -> None:
    for usage in list(_counters):
        usage._begin_process()  # noqa: SLF001  # this module's own class


def _end_process() -> None:
    for usage in list(_counters):
        usage.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_end_process)

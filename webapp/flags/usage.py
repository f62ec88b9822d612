"""Counts evaluations in this process, and tells the database of them every ten seconds.

Who evaluates pays one look-up and one step of an ``itertools.count``, which is atomic, so nothing
is lost between threads and nobody waits.  A thread reads how far each counter has come, keeps the
differences by hour, and adds them to the shared rows on a connection of its own.

While the database is away the differences are kept, up to a bound.  A fork copies what the parent
has counted: the child forgets it, for the parent tells it, and starts its own thread with its
first evaluation.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count as counter
from multiprocessing.util import Finalize
from typing import Final

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from webapp import clock
from webapp.db import engine_options, will_write
from webapp.flags.recording import Span, UsageBatch, UsageKey, add_usage
from webapp.flags.values import MAX_NAME, MAX_WORD, Decision
from webapp.logs import get_logger

log = get_logger(__name__)

FLUSH_SECONDS: Final = 10.0
LAST_WORD_SECONDS: Final = 2.0
# Environments and unknown names come from callers: without a bound they could fill the memory.
MAX_ENVIRONMENTS: Final = 50
MAX_UNKNOWN: Final = 200
# Rows kept while the database is away; a thousand flags for two days stay below it.
MAX_PENDING: Final = 100_000
OTHER_ENVIRONMENTS: Final = "(other)"

_HOUR: Final = timedelta(hours=1)

# Flag, environment, variant, enabled, reason.
_CellKey = tuple[str, str, str | None, bool, str]


class UsageCounter:
    """What one process has evaluated and not yet told.

    :meth:`count` and :meth:`note_unknown` may be called from any thread and never wait for the
    database.
    """

    def __init__(self, database_url: str, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._database_url = database_url
        self._flush_seconds = flush_seconds
        self._engine: Engine | None = None
        self._failing = False
        self._begin_process()
        _counters.add(self)

    def _begin_process(self) -> None:
        """Forget what does not outlive a fork: counts, thread, locks and connection."""
        self._cells: dict[_CellKey, counter[int]] = {}
        # How far each counter had come when it was last read, that reading included.
        self._read: dict[_CellKey, int] = {}
        self._environments: set[str] = set()
        self._unknown: dict[str, counter[int]] = {}
        self._counts: dict[UsageKey, int] = {}
        self._uses: dict[str, Span] = {}
        self._asked: dict[str, tuple[int, Span]] = {}
        self._collected_at: datetime | None = None
        self._thread: threading.Thread | None = None
        self._adding = threading.Lock()
        self._flushing = threading.Lock()
        self._stopped = threading.Event()
        if self._engine is not None:
            # Not closed: after a fork the parent still speaks through that very socket.
            self._engine.dispose(close=False)
            self._engine = None

    def count(self, name: str, environment: str, decision: Decision) -> None:
        """Count one answer of a flag that there is."""
        key = (name, environment, decision.variant, decision.enabled, decision.reason)
        try:
            next(self._cells[key])
        except KeyError:
            next(self._cell(key))

    def note_unknown(self, name: str) -> None:
        """Count that somebody asked for a flag that there is not."""
        try:
            next(self._unknown[name])
        except KeyError:
            if len(self._unknown) < MAX_UNKNOWN and _is_storable(name, MAX_NAME):
                self._start()
                next(self._unknown.setdefault(name, counter()))

    def flush(self) -> bool:
        """Tell the database now; a failure is told to the log once and tried again later."""
        with self._flushing:
            batch = self._collect(clock.now())
            if not (batch.counts or batch.unknown):
                return True
            try:
                with will_write(), Session(self._connected()) as session, session.begin():
                    add_usage(session, batch)
            except Exception as error:  # noqa: BLE001  # whatever it is, evaluation goes on
                self._note_failure(error)
                return False
            self._counts, self._uses, self._asked = {}, {}, {}
            if self._failing:
                log.info("flag_usage_told_again")
            self._failing = False
            return True

    def stop(self) -> None:
        """Tell what is left and end the thread; the next evaluation would begin anew."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(LAST_WORD_SECONDS)
        self._begin_process()

    def _cell(self, key: _CellKey) -> "counter[int]":
        """Return the counter of an answer that is new here, or of one whose environment is not
        counted by its name.
        """
        name, environment, *answer = key
        with self._adding:
            if not self._is_counted(environment):
                key = (name, OTHER_ENVIRONMENTS, *answer)  # type: ignore[assignment]
            cell = self._cells.setdefault(key, counter())
        self._start()
        return cell

    def _is_counted(self, environment: str) -> bool:
        if environment in self._environments:
            return True
        if len(self._environments) >= MAX_ENVIRONMENTS or not _is_storable(environment, MAX_WORD):
            return False
        self._environments.add(environment)
        return True

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._adding:
            if self._thread is None:
                self._collected_at = clock.now()
                thread = threading.Thread(
                    target=self._run, args=(self._stopped,), name="flag-usage", daemon=True
                )
                thread.start()
                self._thread = thread
                # Processes that multiprocessing forked end without the handlers of atexit.
                Finalize(None, _end_process, exitpriority=1)

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._seconds_to_wait(clock.now())):
            self.flush()
        self.flush()
        if self._engine is not None:
            self._engine.dispose()

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
        # What somebody counts in the old mapping after this is lost: of these nobody needs each.
        asked, self._unknown = self._unknown, {}
        for name, cell in list(asked.items())[: MAX_UNKNOWN - len(self._asked)]:
            before, known = self._asked.get(name, (0, span))
            self._asked[name] = (before + next(cell), known.reaching(now))
        return UsageBatch(self._counts, self._uses, self._asked)

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

    def _connected(self) -> Engine:
        if self._engine is None:
            options = engine_options(self._database_url) | {"pool_size": 1, "max_overflow": 0}
            self._engine = create_engine(self._database_url, **options)
        return self._engine


def _hour_of(when: datetime) -> datetime:
    return when.replace(minute=0, second=0, microsecond=0)


def _is_storable(text: object, most: int) -> bool:
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

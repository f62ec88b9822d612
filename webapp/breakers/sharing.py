"""Tells other processes of a circuit's transitions, and learns of theirs.

Counts stay in each process.  A thread of its own, on a connection of its own, writes what the call
path has left for it and reads all circuits once a second, so no call ever waits for the database.
Where the database is away each process goes on by itself, and says so once a minute.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime

from pybreaker import STATE_CLOSED
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp import clock
from webapp.breakers.circuit import Breaker
from webapp.breakers.queries import shared_states
from webapp.breakers.service import FailureCount, record_failures, record_transition, register
from webapp.breakers.values import BreakerState, SharedState, Transition
from webapp.db import engine_options, will_write
from webapp.logs import get_logger

log = get_logger(__name__)

BEAT_SECONDS = 1.0
COMPLAINT_SECONDS = 60.0
# What is told while the store is away; the oldest is forgotten first.
MAX_UNTOLD = 500


class Sharing:
    """The link between one process's circuits and the store.

    ``breakers`` is the registry's own mapping, read only.  :meth:`tell` may be called from any
    thread and never waits; the rest of the work is done by the thread that :meth:`start` starts.
    """

    def __init__(self, database_url: str, breakers: Mapping[str, Breaker]) -> None:
        self._database_url = database_url
        self._breakers = breakers
        self._engine: Engine | None = None
        # By name: the newest version known here, the failures last told of, and the generation up
        # to which this process's own transitions have been overtaken by somebody else's.
        self._versions: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._overtaken: dict[str, int] = {}
        self._untold: deque[Transition] = deque(maxlen=MAX_UNTOLD)
        self._complained_at: float | None = None
        self.begin_process()

    def begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, its signals and its connection."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._stopped = threading.Event()
        self._untold.clear()
        if self._engine is not None:
            # Not closed: the parent still speaks through that very socket.
            self._engine.dispose(close=False)
            self._engine = None

    def start(self) -> None:
        """Start the thread of this process, where it does not run."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="breaker-sharing", daemon=True)
                thread.start()
                self._thread = thread

    def stop(self, *, seconds: float) -> None:
        """Tell what is left and end the thread, within ``seconds``."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def tell(self, transition: Transition) -> None:
        """Leave a transition for the thread."""
        self._untold.append(transition)
        self._wake.set()

    def look(self, *, seconds: float) -> None:
        """Have the store read now, and wait for that, but no longer than ``seconds``."""
        self._looked.clear()
        self._wake.set()
        self._looked.wait(seconds)

    def _run(self) -> None:
        stopped, wake = self._stopped, self._wake
        while not stopped.is_set():
            self._beat()
            wake.wait(BEAT_SECONDS)
            wake.clear()
        if self._untold:
            self._beat()
        if self._engine is not None:
            self._engine.dispose()

    def _beat(self) -> None:
        try:
            self._exchange(clock.now())
        except SQLAlchemyError as error:
            self._complain(error)
        except Exception:
            # The thread must outlive whatever is wrong with one circuit.
            log.exception("breaker_sharing_failed")
        else:
            self._complained_at = None
        self._looked.set()

    def _complain(self, error: SQLAlchemyError) -> None:
        now = time.monotonic()
        if self._complained_at is None or now - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = now
            log.warning("breakers_not_shared", error=type(error).__name__, untold=len(self._untold))

    def _exchange(self, now: datetime) -> None:
        """Learn first, so that what others did meanwhile wins over what is still untold here."""
        with Session(self._connected()) as session:
            states = {state.name: state for state in shared_states(session)}
            session.rollback()
            for state in states.values():
                self._learn(state, now)
            self._tell(session, states, now)

    def _learn(self, state: SharedState, now: datetime) -> None:
        """Take a circuit's shared state, if it is newer than what is known here."""
        breaker, known = self._breakers.get(state.name), self._versions.get(state.name)
        if breaker is None or (known is not None and state.version <= known):
            return
        self._versions[state.name] = state.version
        self._failures[state.name] = state.failures
        if known is None and state.state == BreakerState.CLOSED:
            # The first look: there is nothing to take over, and what was counted until now stays.
            return
        self._overtaken[state.name] = breaker.adopt(state.state, open_for=_open_for(state, now))

    def _tell(self, session: Session, states: Mapping[str, SharedState], now: datetime) -> None:
        """Write what is new here; in most beats that is nothing, and no lock is taken."""
        breakers = list(self._breakers.values())
        missing = [breaker for breaker in breakers if breaker.name not in states]
        untold = list(self._untold)
        counts = self._counts(breakers)
        if not (missing or untold or counts):
            return
        versions = dict(self._versions)
        with will_write(), session.begin():
            for breaker in missing:
                # One that was known and is gone comes back with a version that is news to all.
                register(session, _newly_closed(breaker, versions), now=now)
                versions.setdefault(str(breaker.name), 1)
            for count in counts:
                record_failures(session, count, now=now)
            for transition in untold:
                self._write(session, transition, versions)
        self._settle(untold, counts, versions)

    def _counts(self, breakers: list[Breaker]) -> list[FailureCount]:
        """What is new of closed circuits; an open one keeps those that opened it."""
        return [
            FailureCount(
                name=name,
                failures=breaker.fail_counter,
                error=breaker.last_error if breaker.fail_counter else None,
                version=self._versions[name],
            )
            for breaker in breakers
            if (name := str(breaker.name)) in self._versions
            and breaker.current_state == STATE_CLOSED
            and breaker.fail_counter != self._failures.get(name, 0)
        ]

    def _write(self, session: Session, transition: Transition, versions: dict[str, int]) -> None:
        name = transition.name
        if transition.generation <= self._overtaken.get(name, -1):
            return
        if record_transition(session, transition, version=versions.get(name, 1)):
            versions[name] = versions.get(name, 1) + 1

    def _settle(
        self, untold: list[Transition], counts: list[FailureCount], versions: dict[str, int]
    ) -> None:
        """Remember what has been committed."""
        self._versions = versions
        self._failures |= {count.name: count.failures for count in counts}
        self._failures |= {transition.name: transition.failures for transition in untold}
        done = {id(transition) for transition in untold}
        while self._untold and id(self._untold[0]) in done:
            self._untold.popleft()

    def _connected(self) -> Engine:
        if self._engine is None:
            options = engine_options(self._database_url) | {"pool_size": 1, "max_overflow": 0}
            self._engine = create_engine(self._database_url, **options)
        return self._engine


def _open_for(state: SharedState, now: datetime) -> float:
    """Seconds that an open circuit stays so; never more than its time, however clocks differ."""
    if state.opened_at is None:
        return 0.0
    left = state.open_seconds - (now - state.opened_at).total_seconds()
    return min(max(left, 0.0), state.open_seconds)


def _newly_closed(breaker: Breaker, versions: Mapping[str, int]) -> SharedState:
    name = str(breaker.name)
    return SharedState(
        name=name,
        state=BreakerState.CLOSED,
        opened_at=None,
        open_seconds=breaker.reset_timeout,
        failures=0,
        failure_threshold=breaker.fail_max,
        last_error=None,
        version=versions.get(name, 0) + 1,
    )

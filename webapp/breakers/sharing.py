"""Tells other processes of a circuit's transitions, and learns of theirs.

Counts stay in each process; the table is the truth of everything else.  The thread writes what the
call path has left for it and reads what has changed once a second, or at once where a signal over
Redis says that something did.  So no call waits for the database, but for the one that may be the
next trial.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pybreaker import STATE_CLOSED
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from webapp.breakers.circuit import Breaker
from webapp.breakers.lifecycle import ASK_SECONDS, BEGIN_SECONDS
from webapp.breakers.queries import changed_states, states_of
from webapp.breakers.telling import CircuitWork, Known, Work, Written, write
from webapp.breakers.transitions import FailureCount
from webapp.breakers.values import (
    BreakerState,
    Force,
    SharedState,
    Tally,
    Thresholds,
    Transition,
    TrialEnd,
)
from webapp.db import will_write
from webapp.exchange import Exchange
from webapp.redis_link import RedisLink

#: A message over it says no more than "look": the table is the truth, so a message that is lost,
#: and a Redis that is killed or comes back empty, cost a second and nothing else.
CHANNEL: Final = "breakers:changed"
# How often counts are added to the minutes that the pages show.
TALLY_SECONDS: Final = 10.0
# What changed is read by its time.  So much further back is looked for what was committed later
# than it was written, or by a clock that is behind; ...
OVERLAP: Final = timedelta(seconds=10)
# ... and so often for circuits that are gone, and for clocks that differ by more.
ALL_SECONDS: Final = 5.0
# A circuit that nobody has called for so long is let go by its process.
IDLE_SECONDS: Final = 3600.0
# The first call under a name waits this long for what others know of its circuit.
FIRST_LOOK_SECONDS: Final = 1.0
# A database that hangs is given up so soon: the thread has other questions to answer.
ANSWER_SECONDS: Final = 5.0
# What is told while the store is away; the oldest is forgotten first.
MAX_UNTOLD: Final = 500


@dataclass(frozen=True, slots=True)
class _Question:
    """A call that waits to know whether the next trial is its own."""

    name: str
    answered: threading.Event


class Sharing(Exchange):
    """The link between one process's circuits and the store.

    ``breakers`` is the registry's own mapping, read only; ``forget`` is given the name of a circuit
    that has been idle for long, and tells whether the registry let it go.  :meth:`tell` and
    :meth:`release` may be called from any thread and never wait; the work is done by the thread
    that :meth:`start` starts.
    """

    thread_name = "breaker-sharing"
    complaint = "breakers_not_shared"
    answer_seconds = ANSWER_SECONDS

    def __init__(
        self,
        database_url: str,
        breakers: Mapping[str, Breaker],
        redis_url: str = "",
        *,
        forget: Callable[[str], bool],
    ) -> None:
        self._breakers = breakers
        self._forget = forget
        self._known: dict[str, Known] = {}
        self._states: dict[str, SharedState] = {}
        self._news: deque[Transition | TrialEnd] = deque(maxlen=MAX_UNTOLD)
        self._questions: deque[_Question] = deque()
        link = RedisLink(redis_url, channel=CHANNEL, name="breaker_signals") if redis_url else None
        super().__init__(database_url, link)

    def begin_process(self) -> None:
        """Forget what does not outlive a fork."""
        super().begin_process()
        self._news.clear()
        self._questions.clear()
        self._states.clear()
        self._changed = False
        self._read_until: datetime | None = None
        self._tallied_at = self._all_read_at = float("-inf")
        for name, known in self._known.items():
            known.declared = False
            # The parent tells what it has counted itself.
            known.tally = self._breakers[name].tally if name in self._breakers else Tally()

    def tell(self, transition: Transition) -> None:
        """Leave a transition for the thread."""
        self._news.append(transition)
        self.wake()

    def release(self, end: TrialEnd) -> None:
        """Leave the end of a trial for the thread."""
        self._news.append(end)
        self.wake()

    def announce(self) -> None:
        """Have all processes look, since this one has written something by other ways."""
        if self.link is not None:
            self._changed = True
            self.start()
        self.wake()

    def learn(self) -> None:
        """Wait for what is stored, but not for a database that is known to be away."""
        if self.running and not self.failing:
            self.look(seconds=FIRST_LOOK_SECONDS)

    def ask(self, name: str) -> None:
        """Have the thread ask for the next trial, and wait for its answer, but not for long."""
        question = _Question(name, threading.Event())
        self._questions.append(question)
        self.wake()
        question.answered.wait(ASK_SECONDS)

    def exchange(self, engine: Engine, *, last: bool) -> None:
        """Learn first, so that what others did meanwhile wins over what is still untold here."""
        if last:
            # The counts are told too, however soon they come after those before.
            self._tallied_at = float("-inf")
        questions = _taken(self._questions)
        try:
            with Session(engine, expire_on_commit=False) as session:
                now = self.shared_now(session)
                self._read(session, now)
                session.rollback()
                for state in self._states.values():
                    self._learn(state, now)
                self._write(session, questions, now)
        finally:
            for question in questions:
                question.answered.set()
        if self._changed:
            self._changed = False
            if self.link is not None:
                self.link.ask(lambda client: client.publish(CHANNEL, b"1"))
        self._forget_idle()

    def _read(self, session: Session, now: datetime) -> None:
        """Read what may have changed since the last time, or all circuits of this process."""
        names = set(self._breakers)
        since, self._read_until = self._read_until, None
        if since is None or time.monotonic() - self._all_read_at > ALL_SECONDS:
            # Such as are gone are gone from here too.
            self._states = {state.name: state for state in states_of(session, names, now=now)}
            self._all_read_at = time.monotonic()
        else:
            unknown = names - self._states.keys()
            changed = changed_states(session, since - OVERLAP, also=unknown, now=now)
            self._states |= {state.name: state for state in changed}
        self._read_until = now

    def _learn(self, state: SharedState, now: datetime) -> None:
        """Take a circuit's shared state, if it is newer than what is known here."""
        breaker = self._breakers.get(state.name)
        if breaker is None:
            return
        first = state.name not in self._known
        known = self._known.setdefault(state.name, Known(used_at=time.monotonic()))
        if state.revision != known.revision:
            known.revision = state.revision
            breaker.use(state.thresholds or breaker.declared)
        if state.version > known.version:
            known.version, known.failures = state.version, state.failures
            seconds = _seconds_until(state.control.until, now)
            breaker.control(state.control.at(now), seconds=seconds)
            # At the first look a closed circuit is no news, and what was counted until now stays.
            if not (first and state.state == BreakerState.CLOSED):
                known.overtaken = breaker.adopt(
                    state.state,
                    open_for=_open_for(state, now),
                    opens=state.opens,
                    successes=state.successes,
                )
        if state.state == BreakerState.HALF_OPEN and not self._has_news(state.name):
            breaker.deny_trial(seconds=_seconds_until(state.trial_until, now))

    def _unused(self, state: SharedState) -> TrialEnd | None:
        """Return the end of a trial that is this process's and that nobody has begun in time."""
        known, breaker = self._known.get(state.name), self._breakers.get(state.name)
        if breaker is None or known is None or known.lease is None:
            return None
        # A trial that ends leaves its news before it lets go, so the order of these two matters.
        if state.trial_until != known.lease or breaker.holds_trial or self._has_news(state.name):
            return None
        return TrialEnd(name=state.name, generation=known.overtaken, successes=state.successes)

    def _has_news(self, name: str) -> bool:
        return any(item.name == name for item in list(self._news))

    def _write(self, session: Session, questions: Iterable[_Question], now: datetime) -> None:
        """Write what is new here; in most beats that is nothing, and no lock is taken."""
        work = self._work(questions, now)
        if not work:
            return
        with will_write(), session.begin():
            written = write(session, work, self._known, now=now, clock_ahead=self.clock_ahead)
        self._remember(work, written)
        # Writing has taken its time.
        now = self.shared_now(session)
        for state, ours in written.answers:
            self._answer(state, now, ours=ours)
        forced = any(circuit.force_over for circuit in work.circuits.values())
        trials = any(ours for _, ours in written.answers)
        self._changed |= forced or trials or bool(work.news)

    def _work(self, questions: Iterable[_Question], now: datetime) -> Work:
        """Gather what there is to write."""
        circuits: defaultdict[str, CircuitWork] = defaultdict(CircuitWork)
        breakers = dict(self._breakers)
        for name, breaker in breakers.items():
            if name not in self._states:
                circuits[name].missing = self._newly_closed(breaker)
            if declared := self._declared_anew(breaker):
                circuits[name].declared = declared
            if count := self._count(breaker):
                circuits[name].count = count
        for state in self._states.values():
            if _is_over(state, now):
                circuits[state.name].force_over = state
            if end := self._unused(state):
                circuits[state.name].news.append(end)
        for item in list(self._news):
            circuits[item.name].news.append(item)
        for name in {question.name for question in questions} & breakers.keys():
            limit = breakers[name].thresholds.trial_seconds
            circuits[name].trial_seconds = BEGIN_SECONDS + limit
        tallies, uses = self._tallies(breakers)
        return Work(circuits=circuits, tallies=tallies, uses=uses)

    def _newly_closed(self, breaker: Breaker) -> SharedState:
        """Return how a circuit begins; one that was known and is gone is news to all."""
        known = self._known.get(str(breaker.name), Known())
        return SharedState(
            name=str(breaker.name),
            state=BreakerState.CLOSED,
            opened_at=None,
            open_seconds=breaker.reset_timeout,
            failures=0,
            failure_threshold=breaker.fail_max,
            last_error=None,
            version=known.version + 1,
            declared=breaker.declared,
        )

    def _declared_anew(self, breaker: Breaker) -> Thresholds | None:
        """Return the thresholds in code where the store has others; compared once in a process."""
        name = str(breaker.name)
        state, known = self._states.get(name), self._known.get(name)
        if state is None or known is None or known.declared:
            return None
        if state.declared == breaker.declared:
            known.declared = True
            return None
        return breaker.declared

    def _count(self, breaker: Breaker) -> FailureCount | None:
        """What is new of a closed circuit; an open one keeps those that opened it."""
        known, failures = self._known.get(str(breaker.name)), breaker.fail_counter
        if known is None or failures == known.failures or breaker.current_state != STATE_CLOSED:
            return None
        return FailureCount(
            name=str(breaker.name),
            failures=failures,
            error=breaker.last_error if failures else None,
            version=known.version,
        )

    def _tallies(
        self, breakers: Mapping[str, Breaker]
    ) -> tuple[dict[str, tuple[Tally, Tally]], dict[str, set[str]]]:
        """Return every ten seconds all that each breaker has counted, what of it is new, and by
        whom it was called.
        """
        if time.monotonic() - self._tallied_at < TALLY_SECONDS:
            return {}, {}
        self._tallied_at = time.monotonic()
        tallies, uses = {}, {}
        for name, breaker in breakers.items():
            known = self._known.get(name)
            if known is None:
                continue
            total = breaker.tally
            if total != known.counted:
                known.counted, known.used_at = total, self._tallied_at
            if new := total - known.tally:
                tallies[name] = (total, new)
                if callers := breaker.take_callers():
                    uses[name] = callers
        return tallies, uses

    def _remember(self, work: Work, written: Written) -> None:
        """Remember what has been committed."""
        for name, version in written.versions.items():
            known = self._known.setdefault(name, Known(used_at=time.monotonic()))
            known.version = version
            circuit = work.circuits[name]
            known.declared |= circuit.declared is not None
            for told in (circuit.count, *circuit.news):
                if told is not None and not isinstance(told, TrialEnd):
                    known.failures = told.failures
        for name, (total, _) in work.tallies.items():
            self._known[name].tally = total
        done = {id(item) for item in work.news}
        while self._news and id(self._news[0]) in done:
            self._news.popleft()

    def _forget_idle(self) -> None:
        """Let go of the circuits that nobody uses; their rows are the clean-up's to remove."""
        latest = time.monotonic() - IDLE_SECONDS
        idle = [name for name, known in self._known.items() if known.used_at < latest]
        for name in idle:
            if name in self._breakers and not self._may_be_forgotten(name):
                continue
            if name in self._breakers and not self._forget(name):
                # Somebody holds it; there is no need to ask again at once.
                self._known[name].used_at = time.monotonic()
                continue
            del self._known[name]
            self._states.pop(name, None)

    def _may_be_forgotten(self, name: str) -> bool:
        """Tell whether a circuit says no more than one that begins, and all of it is told."""
        breaker = self._breakers[name]
        return breaker.idle and breaker.tally == self._known[name].tally

    def _answer(self, state: SharedState, now: datetime, *, ours: bool) -> None:
        """Give a breaker the trial that it asked for, or what stands in the way."""
        breaker = self._breakers[state.name]
        seconds = _seconds_until(state.trial_until, now)
        if not ours:
            self._learn(state, now)
            if seconds is not None:
                breaker.deny_trial(seconds=seconds)
            return
        known = self._known.setdefault(state.name, Known(used_at=time.monotonic()))
        known.version, known.lease = state.version, state.trial_until
        # So much earlier than the lease ends that the trial's own time lies within it.
        begin = (seconds or 0.0) - breaker.thresholds.trial_seconds
        known.overtaken = breaker.grant_trial(
            seconds=max(begin, 0.0), successes=state.successes, opens=state.opens
        )


def _taken(questions: deque[_Question]) -> list[_Question]:
    """Take all questions that wait by now."""
    return [questions.popleft() for _ in range(len(questions))]


def _is_over(state: SharedState, now: datetime) -> bool:
    """Tell whether something is forced whose time is over."""
    return state.control.force != Force.NONE and state.control.at(now) == Force.NONE


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    """Return the seconds that are left; None for no end, or for one that has passed."""
    left = (moment - now).total_seconds() if moment is not None else 0.0
    return left if left > 0 else None


def _open_for(state: SharedState, now: datetime) -> float:
    """Seconds that an open circuit stays so; never more than its time, however clocks differ."""
    left = _seconds_until(state.open_until, now) or 0.0
    return min(left, state.open_seconds)

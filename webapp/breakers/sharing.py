"""Tells other processes of a circuit's transitions, and learns of theirs.

Counts stay in each process; the table is the truth of everything else.  The thread writes what the
call path has left for it and reads all circuits once a second, or at once where a signal over Redis
says that something changed.  So no call waits for the database, but for the one that may be the
next trial.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Final

from pybreaker import STATE_CLOSED
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from webapp import clock
from webapp.breakers.circuit import Breaker
from webapp.breakers.lifecycle import ASK_SECONDS, BEGIN_SECONDS
from webapp.breakers.queries import shared_states
from webapp.breakers.recording import add_tallies, add_uses
from webapp.breakers.service import (
    FailureCount,
    declare,
    end_force,
    end_trial,
    record_failures,
    record_transition,
    register,
    take_trial,
)
from webapp.breakers.values import (
    BreakerState,
    Force,
    SharedState,
    Tally,
    Transition,
    TrialEnd,
)
from webapp.db import clock_difference, will_write
from webapp.exchange import Exchange
from webapp.redis_link import RedisLink

#: A message over it says no more than "look": the table is the truth, so a message that is lost,
#: and a Redis that is killed or comes back empty, cost a second and nothing else.
CHANNEL: Final = "breakers:changed"
# How often counts are added to the minutes that the pages show.
TALLY_SECONDS: Final = 10.0
CLOCK_SECONDS: Final = 60.0
# A database that hangs is given up so soon: the thread has other questions to answer.
ANSWER_SECONDS: Final = 5.0
# What is told while the store is away; the oldest is forgotten first.
MAX_UNTOLD: Final = 500


@dataclass(slots=True)
class _Known:
    """What this process knows of one circuit in the store.

    ``overtaken`` is the generation up to which its own transitions have been overtaken by somebody
    else's, ``failures`` and ``tally`` are what it last told, ``lease`` is until when its trial may
    run.
    """

    version: int = 0
    revision: int = -1
    failures: int = 0
    overtaken: int = -1
    tally: Tally = field(default_factory=Tally)
    lease: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """A call that waits to know whether the next trial is its own."""

    name: str
    answered: threading.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What one beat has to write."""

    missing: list[Breaker]
    declaring: list[Breaker]
    over: list[SharedState]
    unused: list[TrialEnd]
    news: list[Transition | TrialEnd]
    counts: list[FailureCount]
    asked: list[str]
    tallies: dict[str, tuple[Tally, Tally]]
    uses: dict[str, set[str]]


class Sharing(Exchange):
    """The link between one process's circuits and the store.

    ``breakers`` is the registry's own mapping, read only.  :meth:`tell` and :meth:`release` may be
    called from any thread and never wait; the work is done by the thread that :meth:`start` starts.
    """

    thread_name = "breaker-sharing"
    complaint = "breakers_not_shared"
    answer_seconds = ANSWER_SECONDS

    def __init__(
        self, database_url: str, breakers: Mapping[str, Breaker], redis_url: str = ""
    ) -> None:
        self._breakers = breakers
        self._known: dict[str, _Known] = {}
        self._news: deque[Transition | TrialEnd] = deque(maxlen=MAX_UNTOLD)
        self._questions: deque[_Question] = deque()
        self._declared: set[str] = set()
        self._clock_ahead = timedelta()
        link = RedisLink(redis_url, channel=CHANNEL, name="breaker_signals") if redis_url else None
        super().__init__(database_url, link)

    def begin_process(self) -> None:
        """Forget what does not outlive a fork."""
        super().begin_process()
        self._news.clear()
        self._questions.clear()
        self._declared.clear()
        self._changed = False
        self._clock_at = self._tallied_at = float("-inf")
        for name, known in self._known.items():
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
                now = self._now(session)
                states = {state.name: state for state in shared_states(session)}
                session.rollback()
                for state in states.values():
                    self._learn(state, now)
                self._write(session, states, questions, now)
        finally:
            for question in questions:
                question.answered.set()
        if self._changed:
            self._changed = False
            if self.link is not None:
                self.link.ask(lambda client: client.publish(CHANNEL, b"1"))

    def _now(self, session: Session) -> datetime:
        """Return the time by the clock that all processes share."""
        if time.monotonic() - self._clock_at > CLOCK_SECONDS:
            self._clock_ahead = timedelta(seconds=_seconds_ahead(session))
            self._clock_at = time.monotonic()
        return clock.now() - self._clock_ahead

    def _learn(self, state: SharedState, now: datetime) -> None:
        """Take a circuit's shared state, if it is newer than what is known here."""
        breaker = self._breakers.get(state.name)
        if breaker is None:
            return
        first = state.name not in self._known
        known = self._known.setdefault(state.name, _Known())
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

    def _write(
        self,
        session: Session,
        states: Mapping[str, SharedState],
        questions: Iterable[_Question],
        now: datetime,
    ) -> None:
        """Write what is new here; in most beats that is nothing, and no lock is taken."""
        work = self._work(states, questions, now)
        if not any(getattr(work, item.name) for item in fields(work)):
            return
        versions = {name: known.version for name, known in self._known.items()}
        with will_write(), session.begin():
            self._write_circuits(session, work, versions, now)
            answers = self._take_trials(session, work, now)
            counted = {name: new for name, (_, new) in work.tallies.items()}
            add_tallies(session, counted, now=now)
            add_uses(session, work.uses, now=now)
        self._remember(work, versions)
        # Writing has taken its time.
        now = clock.now() - self._clock_ahead
        for answer, ours in answers:
            self._answer(answer, now, ours=ours)
        told = work.over or work.unused or work.news
        self._changed |= bool(told or any(ours for _, ours in answers))

    def _work(
        self, states: Mapping[str, SharedState], questions: Iterable[_Question], now: datetime
    ) -> _Work:
        """Gather what there is to write."""
        breakers = list(self._breakers.values())
        tallies, uses = self._tallies(breakers)
        return _Work(
            missing=[breaker for breaker in breakers if breaker.name not in states],
            declaring=[breaker for breaker in breakers if self._declares_anew(breaker, states)],
            over=[state for state in states.values() if _is_over(state, now)],
            unused=[end for state in states.values() if (end := self._unused(state))],
            news=list(self._news),
            counts=self._counts(breakers),
            asked=sorted({question.name for question in questions} & set(self._breakers)),
            tallies=tallies,
            uses=uses,
        )

    def _write_circuits(
        self, session: Session, work: _Work, versions: dict[str, int], now: datetime
    ) -> None:
        for breaker in work.missing:
            # One that was known and is gone comes back with a version that is news to all.
            register(session, _newly_closed(breaker, versions), now=now)
            versions.setdefault(str(breaker.name), 1)
        for breaker in work.declaring:
            declare(session, str(breaker.name), breaker.declared, now=now)
        for state in work.over:
            end_force(session, state.name, version=state.version, now=now)
        for count in work.counts:
            record_failures(session, count, now=now)
        for item in (*work.unused, *work.news):
            self._tell(session, item, versions, now)

    def _take_trials(
        self, session: Session, work: _Work, now: datetime
    ) -> list[tuple[SharedState, bool]]:
        """Ask for the trials that calls wait for: how each circuit stands, and whose trial it is.

        After the news: the end of this process's last trial lets the next one begin.
        """
        limits = {
            name: BEGIN_SECONDS + self._breakers[name].thresholds.trial_seconds
            for name in work.asked
        }
        answers = [
            take_trial(session, name, seconds=seconds, now=now) for name, seconds in limits.items()
        ]
        return [(state, ours) for state, ours in answers if state is not None]

    def _declares_anew(self, breaker: Breaker, states: Mapping[str, SharedState]) -> bool:
        """Tell, once in a process, whether code gives other thresholds than the store has."""
        name = str(breaker.name)
        if name in self._declared or name not in states:
            return False
        self._declared.add(name)
        return states[name].declared != breaker.declared

    def _counts(self, breakers: list[Breaker]) -> list[FailureCount]:
        """What is new of closed circuits; an open one keeps those that opened it."""
        return [
            FailureCount(
                name=str(breaker.name),
                failures=breaker.fail_counter,
                error=breaker.last_error if breaker.fail_counter else None,
                version=known.version,
            )
            for breaker in breakers
            if (known := self._known.get(str(breaker.name))) is not None
            and breaker.current_state == STATE_CLOSED
            and breaker.fail_counter != known.failures
        ]

    def _tallies(
        self, breakers: list[Breaker]
    ) -> tuple[dict[str, tuple[Tally, Tally]], dict[str, set[str]]]:
        """Return every ten seconds all that each breaker has counted, what of it is new, and by
        whom it was called.
        """
        if time.monotonic() - self._tallied_at < TALLY_SECONDS:
            return {}, {}
        self._tallied_at = time.monotonic()
        tallies, uses = {}, {}
        for breaker in breakers:
            known = self._known.get(str(breaker.name))
            total = breaker.tally
            if known is not None and (new := total - known.tally):
                tallies[str(breaker.name)] = (total, new)
                if callers := breaker.take_callers():
                    uses[str(breaker.name)] = callers
        return tallies, uses

    def _tell(
        self,
        session: Session,
        item: Transition | TrialEnd,
        versions: dict[str, int],
        now: datetime,
    ) -> None:
        name = item.name
        known = self._known.get(name, _Known())
        version = versions.get(name, 1)
        if isinstance(item, TrialEnd):
            # It ends a trial of the generation that its lease began.
            if item.generation == known.overtaken and known.lease is not None:
                end_trial(session, item, version=version, lease=known.lease, now=now)
            return
        # What happened here since was decided elsewhere.
        told = replace(item, at=item.at - self._clock_ahead)
        if item.generation > known.overtaken and record_transition(session, told, version=version):
            versions[name] = version + 1

    def _remember(self, work: _Work, versions: Mapping[str, int]) -> None:
        """Remember what has been committed."""
        for name, version in versions.items():
            self._known.setdefault(name, _Known()).version = version
        for told in (*work.counts, *work.news):
            if not isinstance(told, TrialEnd):
                self._known.setdefault(told.name, _Known()).failures = told.failures
        for name, (total, _) in work.tallies.items():
            self._known[name].tally = total
        done = {id(item) for item in work.news}
        while self._news and id(self._news[0]) in done:
            self._news.popleft()

    def _answer(self, state: SharedState, now: datetime, *, ours: bool) -> None:
        """Give a breaker the trial that it asked for, or what stands in the way."""
        breaker = self._breakers[state.name]
        seconds = _seconds_until(state.trial_until, now)
        if not ours:
            self._learn(state, now)
            if seconds is not None:
                breaker.deny_trial(seconds=seconds)
            return
        known = self._known.setdefault(state.name, _Known())
        known.version, known.lease = state.version, state.trial_until
        # So much earlier than the lease ends that the trial's own time lies within it.
        begin = (seconds or 0.0) - breaker.thresholds.trial_seconds
        known.overtaken = breaker.grant_trial(
            seconds=max(begin, 0.0), successes=state.successes, opens=state.opens
        )


def _seconds_ahead(session: Session) -> float:
    """Return by how much this machine's clock is ahead; how long the answer took is no difference.

    The other clock was read at some time between question and answer: where no difference at all
    is among those that are possible, there is none.
    """
    asked = clock.now()
    least = clock_difference(session, now=asked)
    most = least + (clock.now() - asked).total_seconds()
    return 0.0 if least <= 0 <= most else (least + most) / 2


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
        declared=breaker.declared,
    )

"""Where evaluation reads from: one snapshot of all flags in each process.

Readers take one reference and no lock.  A thread of the process asks its feed for a new revision
every second, or as soon as a signal comes, and swaps the whole snapshot; the process that made a
change swaps at once.  Where the feed is away, evaluation goes on with the last snapshot, which says
so.

A fork (gunicorn, Huey) copies the snapshot but not the thread: the child starts its own at its
first evaluation.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final

from webapp.clock import now
from webapp.errors import Unavailable
from webapp.flags.evaluation import UNKNOWN, CompiledFlag
from webapp.flags.feeds import Feed
from webapp.flags.signals import NoSignals, Signals, SignalState
from webapp.flags.tables import Ask, FlagTables, Ready, asking
from webapp.flags.usage import UsageCounter
from webapp.flags.values import NO_FLAGS, NOTHING, Decision, FlagSet, subject_id
from webapp.logs import get_logger
from webapp.metrics import FLAG_CACHE_REQUESTS
from webapp.promptly import takes_time

log = get_logger(__name__)

NOT_READ: Final = "No flag could be read yet: what holds them is away."
# So many flags are decided in a fraction of a millisecond.
MOST_PROMPT: Final = 100
# Names come from callers, so what is remembered of them has a bound.
_MAX_UNKNOWN: Final = 1_000
_unknown: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """How fresh a process's flags are; ``age`` is seconds since its feed last confirmed them.

    ``loaded`` is false where this process has never reached its feed: every flag is off then.
    """

    loaded: bool
    revision: int
    flags: int
    age: float
    stale: bool
    signals: SignalState


class FlagStore:
    """One process's snapshot and the thread that keeps it fresh.

    ``poll_seconds`` lie between two looks at the revision; what the feed has not confirmed for
    ``trust_seconds`` is stale.  ``usage`` is told of every evaluation, None where nobody counts.
    ``signals`` tell of changes elsewhere before the next look.  ``note_stale`` is told for how many
    seconds flags were stale, once they are not any longer.

    Evaluation looks into :attr:`ready` first, which is empty until somebody has asked in this
    process: :meth:`current` then begins everything.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        environment: str,
        poll_seconds: float,
        trust_seconds: float,
        usage: UsageCounter | None = None,
        signals: Signals | None = None,
    ) -> None:
        self.environment = environment
        self.note_stale: Callable[[float], None] | None = None
        self.usage = usage
        self._feed = feed
        self._signals = signals or NoSignals()
        self._poll_seconds = poll_seconds
        self._trust_seconds = trust_seconds
        self._latest = FlagTables(NO_FLAGS, environment, usage)
        self._confirmed_at: float | None = None
        self._failing = False
        self._begin_process()
        _stores.add(self)

    def _begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, and locks that others may have held."""
        self._show({})
        self._begun = False
        self._starting = threading.Lock()
        self._refreshing = threading.Lock()
        self._wake = threading.Event()
        self._signals.begin_process()

    def current(self) -> FlagTables:
        """Return the snapshot to decide by.  Only the first call of a process waits."""
        if not self._begun:
            self._begin()
        return self._latest

    def evaluate(
        self,
        name: str,
        subject: object,
        *,
        environment: str | None = None,
        attributes: Mapping[str, Any] = NOTHING,
    ) -> Decision:
        """Decide a flag for one subject, in the deployment's own environment where none is named.

        Every step here is paid with every evaluation, so there are few.
        """
        if type(subject) is not str:
            subject = subject_id(subject)
        try:
            ask = self.ready[environment][name]
        except KeyError:
            ask = self.find(environment, name)
        decision = ask(subject, attributes)
        next(decision.counter)
        return decision

    def evaluate_many(
        self,
        names: Iterable[str] | None,
        subject: object,
        *,
        environment: str | None = None,
        attributes: Mapping[str, Any] = NOTHING,
    ) -> dict[str, Decision]:
        """Decide several flags for one subject, None for all: at one moment, on one state."""
        tables = self.current()
        table, asked, moment = tables.table(environment), subject_id(subject), now()
        wanted = tables.found.flags if names is None else list(names)
        if len(wanted) > MOST_PROMPT:
            takes_time()
        decisions = {}
        for name in wanted:
            flag = table.find(name) or self._unknown_flag(name)
            decision = flag.decide(asked, attributes, moment)
            next(decision.counter)
            decisions[name] = decision
        return decisions

    def find(self, environment: str | None, name: str) -> Ask:
        """Return what asks a flag that nobody asked yet in this process, or that there is not."""
        table = self.current().table(environment)
        return asking(table.find(name) or self._unknown_flag(name))

    def _unknown_flag(self, name: str) -> CompiledFlag:
        """Log a name that nobody made, once, and leave it for the console's list."""
        # Before the first look at the feed no name is known, which says nothing about names.
        if self.loaded:
            if self.usage is not None:
                self.usage.note_unknown(name)
            if name not in _unknown and len(_unknown) < _MAX_UNKNOWN:
                _unknown.add(name)
                log.warning("flag_unknown", flag=name)
        return UNKNOWN

    def names(self) -> Collection[str]:
        """Return the names of the flags in use; :class:`Unavailable` where none were read yet."""
        if not self.loaded:
            raise Unavailable(NOT_READ)
        return self.current().found.flags.keys()

    @property
    def loaded(self) -> bool:
        """Tell whether this process has ever had its flags."""
        return self.current().found is not NO_FLAGS

    def refresh(self) -> bool:
        """Swap the snapshot if the revision has changed.

        Returns whether that worked; a failure is told once, not raised, since the last snapshot
        stands and a caller's own work is done.
        """
        return self._look(mends=True)

    def _look(self, *, mends: bool, wake: threading.Event | None = None) -> bool:
        # In a context of its own: inside a request that writes, reading would queue for SQLite's
        # write lock.
        return Context().run(self._refresh, mends=mends, wake=wake)

    def _refresh(self, *, mends: bool, wake: threading.Event | None) -> bool:
        # One at a time: an older load that ended later would take a newer one's place.
        with self._refreshing:
            if wake is not None and wake is not self._wake:
                # The thread of a store that was stopped meanwhile: it must not fill it again.
                return False
            try:
                self._load(mends=mends)
            except Exception as error:  # noqa: BLE001  # whatever it is, evaluation goes on
                self._note_failure(error)
                return False
            if self._failing:
                log.info("flags_refreshed_again", revision=self._latest.found.revision)
            self._failing, self._confirmed_at = False, time.monotonic()
            return True

    def status(self) -> SnapshotStatus:
        """Say how fresh this process's flags are, starting to keep them where nobody asked yet."""
        found = self.current().found
        confirmed = self._confirmed_at
        age = float("inf") if confirmed is None else time.monotonic() - confirmed
        return SnapshotStatus(
            loaded=self.loaded,
            revision=found.revision,
            flags=len(found.flags),
            age=age,
            stale=age > self._trust_seconds,
            signals=self._signals.state,
        )

    def stop(self) -> None:
        """End the thread and forget the flags; the next evaluation would begin anew."""
        wake = self._wake
        self._signals.stop()
        # Whoever reads flags at this moment ends first, else it would put them back.
        with self._refreshing:
            self._begin_process()
            self._latest = FlagTables(NO_FLAGS, self.environment, self.usage)
            self._confirmed_at = None
        # Not before: the thread ends where it finds that another event has taken this one's place.
        wake.set()

    def _begin(self) -> None:
        takes_time()
        with self._starting:
            if self._begun:
                return
            self.refresh()
            self._signals.start(self._wake.set)
            if self.usage is not None:
                self.usage.start()
            watcher = threading.Thread(
                target=self._watch, args=(self._wake,), name="flag-watcher", daemon=True
            )
            watcher.start()
            # Nobody swaps meanwhile: what is asked from now on would be older than the latest.
            with self._refreshing:
                self._begun = True
                self._show(self._latest.ready)

    def _watch(self, wake: threading.Event) -> None:
        # What a parent confirmed before a fork says nothing of this process.
        began = time.monotonic()
        while True:
            told = wake.wait(self._poll_seconds)
            # The event is this thread's own: the store that was stopped has another.
            if wake is not self._wake:
                return
            wake.clear()
            # Of two that each publish because the other has, neither would ever stop: whoever was
            # told leaves the mending to the next look.
            before = max(began, self._confirmed_at or began)
            if self._look(mends=not told, wake=wake):
                self._tell_stale(time.monotonic() - before - self._trust_seconds)

    def _tell_stale(self, seconds: float) -> None:
        if seconds <= 0 or self.note_stale is None:
            return
        try:
            self.note_stale(seconds)
        except Exception as error:  # noqa: BLE001  # flags go on, whoever wanted to know of them
            log.warning("flags_stale_not_noted", error=type(error).__name__)

    def _load(self, *, mends: bool) -> None:
        # In this order: what was published before the feed is asked is never newer than what it
        # says, so a difference means that the publication is to be mended.
        signalled = self._signals.published_revision()
        known = self._latest.found
        ahead = signalled is not None and signalled > known.revision
        published = self._published_after(known.revision) if ahead else None
        found = self._fetch(published or known)
        if found is not known:
            FLAG_CACHE_REQUESTS.labels("miss").inc()
            self._swap(found)
        is_wrong = signalled != found.revision or (ahead and published is None)
        if signalled is not None and is_wrong and mends:
            self._signals.publish(found, instead_of=signalled)

    def _published_after(self, revision: int) -> FlagSet | None:
        """Spare the feed: a cold process, or many that hear of one change, need not read it."""
        published = self._signals.published()
        return published if published and published.revision > revision else None

    def _fetch(self, known: FlagSet) -> FlagSet:
        """Ask the feed whether flags are the latest: what was published counts only if they are.

        Where the feed is away, what was published is the best that can be had.
        """
        try:
            return self._feed.fetch(known.revision) or known
        except Exception:
            if known is not self._latest.found:
                self._swap(known)
                self._confirmed_at = time.monotonic()
            raise

    def _swap(self, found: FlagSet) -> None:
        # Each flag is compiled when it is asked next: all at once would hold up whoever evaluates.
        tables = self._latest = FlagTables(found, self.environment, self.usage)
        if self._begun:
            self._show(tables.ready)

    def _show(self, ready: Ready) -> None:
        """Make this what evaluation looks into."""
        global own  # noqa: PLW0603  # so that the process's own flags are one look away
        self.ready: Ready = ready
        if self is only:
            own = ready.get(None, {})

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            log.warning("flags_not_refreshed", revision=self._latest.found.revision, exc_info=error)
        self._failing = True


_stores: weakref.WeakSet[FlagStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_stores):
        store._begin_process()  # noqa: SLF001  # this module's own class


os.register_at_fork(after_in_child=_after_fork)

# The store of a process that has one application, as all but tests have: it answers without a look
# at the context, and in threads of the program's own, where no context is pushed.
only: FlagStore | None = None
# What that store has ready in the deployment's own environment; empty where there are several.
own: Mapping[str, Ask] = {}
_find_present: Callable[[], FlagStore] | None = None


def provide_store(store: FlagStore, find_present: Callable[[], FlagStore]) -> None:
    """Make a store the one that is asked; of several, ``find_present`` says which is meant."""
    global only, own, _find_present  # noqa: PLW0603  # set once, as an application is set up
    only = store if _find_present is None else None
    own = only.ready.get(None, {}) if only else {}
    _find_present = find_present


def flag_store() -> FlagStore:
    """Return the store of the process's only application, else of the present one."""
    if only is not None:
        return only
    if _find_present is None:
        raise RuntimeError("Flags are asked for before the application is set up.")
    return _find_present()

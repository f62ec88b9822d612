"""Where evaluation reads from: one immutable snapshot of all flags in each process.

Readers take one reference and no lock.  A thread of the process asks for the revision every
second and swaps the whole snapshot when it has changed; the process that made a change swaps at
once.  Where the database is away, evaluation goes on with the last snapshot, which says so.

A fork (gunicorn, Huey) copies the snapshot but not the thread: the child starts its own at its
first evaluation.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy.orm import Session

from webapp.flags.evaluation import Evaluator, compile_flag
from webapp.flags.queries import load_definitions, read_revision
from webapp.flags.usage import UsageCounter
from webapp.logs import get_logger

log = get_logger(__name__)

NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All flags at one revision, ready to be asked, by name."""

    revision: int
    evaluators: Mapping[str, Evaluator]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """How fresh a process's flags are; ``age`` is seconds since the database last confirmed them.

    ``loaded`` is false where this process has never reached the database: every flag is off then.
    """

    loaded: bool
    revision: int
    flags: int
    age: float
    stale: bool


EMPTY: Final = Snapshot(NEVER, MappingProxyType({}))

OpenSession = Callable[[], AbstractContextManager[Session]]


class FlagStore:
    """One process's snapshot and the thread that keeps it fresh.

    ``poll_seconds`` lie between two looks at the revision; what the database has not confirmed for
    ``trust_seconds`` is stale.  ``usage`` is told of every evaluation, None where nobody counts.
    """

    def __init__(
        self,
        open_session: OpenSession,
        *,
        environment: str,
        poll_seconds: float,
        trust_seconds: float,
        usage: UsageCounter | None = None,
    ) -> None:
        self.environment = environment
        self.usage = usage
        self._open_session = open_session
        self._poll_seconds = poll_seconds
        self._trust_seconds = trust_seconds
        self._latest = EMPTY
        self._confirmed_at: float | None = None
        self._failing = False
        self._begin_process()
        _stores.add(self)

    def _begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, and locks that others may have held."""
        self._started = False
        self._starting = threading.Lock()
        self._refreshing = threading.Lock()
        self._stopped = threading.Event()

    def current(self) -> Snapshot:
        """Return the snapshot to decide by.  Only the first call of a process waits."""
        if not self._started:
            self._start()
        return self._latest

    def refresh(self, *, force: bool = False) -> bool:
        """Swap the snapshot if the revision has changed, or in any case with ``force``.

        Returns whether that worked; a failure is told once, not raised, since the last snapshot
        stands and a caller's own work is done.
        """
        # In a context of its own: inside a request that writes, reading would queue for SQLite's
        # write lock.
        return Context().run(self._refresh, force=force)

    def reload(self) -> None:
        """Swap the snapshot now: this process has just changed a flag."""
        self.refresh(force=True)

    def _refresh(self, *, force: bool) -> bool:
        # One at a time: an older load that ended later would take a newer one's place.
        with self._refreshing:
            try:
                self._load(force=force)
            except Exception as error:  # noqa: BLE001  # whatever it is, evaluation goes on
                self._note_failure(error)
                return False
            if self._failing:
                log.info("flags_refreshed_again", revision=self._latest.revision)
            self._failing, self._confirmed_at = False, time.monotonic()
            return True

    def status(self) -> SnapshotStatus:
        """Say how fresh this process's flags are, starting to keep them where nobody asked yet."""
        latest = self.current()
        confirmed = self._confirmed_at
        age = float("inf") if confirmed is None else time.monotonic() - confirmed
        return SnapshotStatus(
            loaded=latest is not EMPTY,
            revision=latest.revision,
            flags=len(latest.evaluators),
            age=age,
            stale=age > self._trust_seconds,
        )

    def stop(self) -> None:
        """End the thread and forget the flags; the next evaluation would begin anew."""
        self._stopped.set()
        self._begin_process()
        self._latest, self._confirmed_at = EMPTY, None

    def _start(self) -> None:
        with self._starting:
            if self._started:
                return
            self.refresh()
            watcher = threading.Thread(
                target=self._watch, args=(self._stopped,), name="flag-watcher", daemon=True
            )
            watcher.start()
            self._started = True

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._poll_seconds):
            self.refresh()

    def _load(self, *, force: bool) -> None:
        with self._open_session() as session:
            # The revision first: a change between the two reads is then loaded twice, never missed.
            revision = read_revision(session)
            if revision == self._latest.revision and not force:
                return
            evaluators = {flag.name: compile_flag(flag) for flag in load_definitions(session)}
        self._latest = Snapshot(revision, MappingProxyType(evaluators))

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            log.warning("flags_not_refreshed", revision=self._latest.revision, exc_info=error)
        self._failing = True


_stores: weakref.WeakSet[FlagStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_stores):
        store._begin_process()  # noqa: SLF001  # this module's own class


os.register_at_fork(after_in_child=_after_fork)

# The store of a process that has one application, as all but tests have: it answers without a look
# at the context, and in threads of the program's own, where no context is pushed.
_only: FlagStore | None = None
_find_present: Callable[[], FlagStore] | None = None


def provide_store(store: FlagStore, find_present: Callable[[], FlagStore]) -> None:
    """Make a store the one that is asked; of several, ``find_present`` says which is meant."""
    global _only, _find_present  # noqa: PLW0603  # set once, as an application is set up
    _only = store if _find_present is None else None
    _find_present = find_present


def flag_store() -> FlagStore:
    """Return the store of the process's only application, else of the present one."""
    if _only is not None:
        return _only
    if _find_present is None:
        raise RuntimeError("Flags are asked for before the application is set up.")
    return _find_present()

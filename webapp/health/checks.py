"""What this process needs, and whether it has it; each look is bounded in time.

Knows nothing of requests.  A look that hangs is not started a second time, so that a probe every
few seconds does not pile up threads behind a database that does not answer.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from webapp.flags.snapshot import FlagStore
from webapp.jobs.broker import Broker

MAX_SECONDS = 2.0

Look = Callable[[], Mapping[str, Any]]


class PartState(StrEnum):
    """How one part stands; ``unknown`` is one that this process has no way to ask."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is needed; ``facts`` are shown to whoever asks, so they name no secret."""

    state: PartState
    facts: Mapping[str, Any] = field(default_factory=dict)


class Unfit(Exception):
    """A part answers, but not as is needed; the message says what is wrong."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


class Checks:
    """The looks of one process, each in a thread of its own and at most one of a kind at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Future[Mapping[str, Any]]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._process = 0

    def run(self, looks: Mapping[str, Look | None], *, process: int) -> dict[str, Part]:
        """Run all looks side by side; ``process`` is its id, for a fork leaves no threads."""
        ends = time.monotonic() + MAX_SECONDS
        with self._lock:
            self._begin_process(process)
            futures = {name: look and self._started(name, look) for name, look in looks.items()}
        return {name: _part(future, ends) for name, future in futures.items()}

    def _started(self, name: str, look: Look) -> Future[Mapping[str, Any]]:
        running = self._running.get(name)
        if running is None or running.done():
            if self._threads is None:
                self._threads = ThreadPoolExecutor(thread_name_prefix="health")
            running = self._running[name] = self._threads.submit(look)
        return running

    def _begin_process(self, process: int) -> None:
        if process != self._process:
            self._process, self._threads, self._running = process, None, {}


def _part(future: Future[Mapping[str, Any]] | None, ends: float) -> Part:
    if future is None:
        return Part(PartState.UNKNOWN)
    try:
        return Part(PartState.UP, future.result(max(0.0, ends - time.monotonic())))
    except NotDone:
        return Part(PartState.DOWN, {"problem": f"no answer within {MAX_SECONDS:g} s"})
    except Unfit as error:
        return Part(PartState.DOWN, {"problem": str(error)} | error.facts)
    except Exception as error:  # noqa: BLE001  # that it fails is the answer
        # The type alone: the text of a database error names hosts and users.
        return Part(PartState.DOWN, {"problem": type(error).__name__})


def look_at_database(engine: Engine) -> Look:
    """Ask the database the simplest question."""

    def look() -> Mapping[str, Any]:
        began = time.monotonic()
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        return {"milliseconds": round((time.monotonic() - began) * 1000, 1)}

    return look


def look_at_migrations(engine: Engine, directory: Path) -> Look:
    """Compare the database's revision with the newest migration in ``directory``."""

    def look() -> Mapping[str, Any]:
        head = newest_revision(directory)
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
        if revision != head:
            raise Unfit("the database is not migrated", revision=revision, head=head)
        return {"revision": revision}

    return look


@cache
def newest_revision(directory: Path) -> str | None:
    """Return the newest migration's revision; the files do not change under a running process."""
    config = Config()
    config.set_main_option("script_location", str(directory))
    return ScriptDirectory.from_config(config).get_current_head()


def look_at_broker(broker: Broker) -> Look:
    """Ask the queue whether it answers."""

    def look() -> Mapping[str, Any]:
        broker.ping()
        return {}

    return look


def look_at_flags(store: FlagStore) -> Look:
    """Ask how old the flags are that this process decides by."""

    def look() -> Mapping[str, Any]:
        status = store.status()
        if not status.loaded:
            raise Unfit("the flags have not been read yet")
        facts = {
            "revision": status.revision,
            "age_seconds": round(status.age, 1),
            "signals": status.signals,
        }
        if status.stale:
            raise Unfit("the flags are stale", **facts)
        return facts

    return look

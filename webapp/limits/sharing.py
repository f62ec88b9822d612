"""Tells other processes of pauses and counts, and learns of theirs, and of every rule.

A thread of its own, on a connection of its own, writes what the call path has left for it and reads
the rules and pauses of the names in use once a second, so no call ever waits for the database.
Where the database is away each process goes on with what it knows, and says so once a minute.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp import clock
from webapp.db import engine_options, will_write
from webapp.limits.limit import RateLimit, Untold
from webapp.limits.queries import shared_limits
from webapp.limits.service import add_counts, record_pause, record_shares
from webapp.limits.stores import ProcessStore
from webapp.limits.values import MAX_NAME, Counts, Rule, Usage
from webapp.logs import get_logger
from webapp.workers.service import living_processes

log = get_logger(__name__)

BEAT_SECONDS = 1.0
COMPLAINT_SECONDS = 60.0


class Sharing:
    """The link between one process's limits and the store.

    ``limits`` is the registry's own mapping, read only.
    """

    def __init__(
        self, database_url: str, limits: Mapping[str, RateLimit], alone: ProcessStore, api: Rule
    ) -> None:
        self._database_url = database_url
        self._limits = limits
        self._alone = alone
        self._api = api
        self._engine: Engine | None = None
        self._complained_at: float | None = None
        self.begin_process()

    def begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, its signals and its connection."""
        self.running = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._asked: list[threading.Event] = []
        self._stopped = threading.Event()
        self._process = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(2)}"
        self._shares: dict[str, Usage] = {}
        if self._engine is not None:
            # Not closed: the parent still speaks through that very socket.
            self._engine.dispose(close=False)
            self._engine = None

    def start(self) -> None:
        """Start the thread of this process, where it does not run."""
        with self._starting:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="limit-sharing", daemon=True)
                self._thread.start()
                self.running = True

    def stop(self, *, seconds: float) -> None:
        """Tell what is left and end the thread, within ``seconds``."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def wake(self) -> None:
        """Have the thread tell and look now."""
        self._wake.set()

    def look(self, *, seconds: float) -> None:
        """Have the store read now, and wait for that, but no longer than ``seconds``."""
        looked = threading.Event()
        # An exchange that has begun already may have missed what it is asked for.
        self._asked.append(looked)
        self._wake.set()
        looked.wait(seconds)

    def _run(self) -> None:
        stopped, wake = self._stopped, self._wake
        while not stopped.is_set():
            self._beat()
            wake.wait(BEAT_SECONDS)
            wake.clear()
        self._beat()
        if self._engine is not None:
            self._engine.dispose()

    def _beat(self) -> None:
        asked, self._asked = self._asked, []
        try:
            self._exchange(clock.now())
        except SQLAlchemyError as error:
            self._complain(error)
        except Exception:
            # The thread must outlive whatever is wrong with one limit.
            log.exception("limit_sharing_failed")
        else:
            self._complained_at = None
            for looked in asked:
                looked.set()

    def _complain(self, error: SQLAlchemyError) -> None:
        moment = time.monotonic()
        if self._complained_at is None or moment - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = moment
            log.warning("pauses_not_shared", error=type(error).__name__)

    def _exchange(self, now: datetime) -> None:
        """Tell first, so that a pause that was met here is among those that are learnt."""
        limits = dict(self._limits)
        with Session(self._connected()) as session:
            self._tell(session, limits, now)
            known = shared_limits(session, limits, api=self._api, now=now)
            self._alone.processes = living_processes(session, now=now)
            session.rollback()
        for name, shared in known.items():
            limits[name].adopt(shared)

    def _tell(self, session: Session, limits: Mapping[str, RateLimit], now: datetime) -> None:
        """Write what is new here; in most beats that is nothing, and no lock is taken."""
        untold = {name: news for name, limit in limits.items() if (news := limit.untold())}
        shares = self._used(limits)
        if not untold and not _differ(shares, self._shares):
            return
        with will_write(), session.begin():
            for name, news in sorted(untold.items()):
                _write(session, name[:MAX_NAME], news, now)
            if _differ(shares, self._shares):
                record_shares(session, self._process, shares, now=now)
        self._shares = shares
        for name, news in untold.items():
            limits[name].settle(news)

    def _used(self, limits: Mapping[str, RateLimit]) -> dict[str, Usage]:
        used = self._alone.usage({name: limit.rule for name, limit in limits.items() if limit.rule})
        return {name: usage for name, usage in used.items() if usage.used}

    def _connected(self) -> Engine:
        if self._engine is None:
            options = engine_options(self._database_url) | {"pool_size": 1, "max_overflow": 0}
            self._engine = create_engine(self._database_url, **options)
        return self._engine


def _differ(shares: Mapping[str, Usage], told: Mapping[str, Usage]) -> bool:
    """Tell whether calls came or ended; that time passes is known to whoever reads."""
    return {name: usage.used for name, usage in shares.items()} != {
        name: usage.used for name, usage in told.items()
    }


def _write(session: Session, name: str, news: Untold, now: datetime) -> None:
    if news.pause:
        record_pause(session, name, news.pause, now=now)
    if news.counts != Counts():
        add_counts(session, name, news.counts, now=now)

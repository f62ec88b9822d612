"""Tells other processes of pauses and counts, and learns of theirs, and of every rule.

The thread writes what the call path has left for it and reads the rules and pauses of the names in
use, so no call ever waits for the database.
"""

import os
import secrets
import socket
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from webapp import clock
from webapp.db import will_write
from webapp.exchange import Exchange
from webapp.limits.limit import RateLimit, Untold
from webapp.limits.queries import shared_limits
from webapp.limits.service import add_counts, record_pause, record_shares
from webapp.limits.stores import ProcessStore
from webapp.limits.values import MAX_NAME, Counts, Rule, Usage
from webapp.workers.service import living_processes


class Sharing(Exchange):
    """The link between one process's limits and the store.

    ``limits`` is the registry's own mapping, read only.
    """

    thread_name = "limit-sharing"
    complaint = "pauses_not_shared"

    def __init__(
        self, database_url: str, limits: Mapping[str, RateLimit], alone: ProcessStore, api: Rule
    ) -> None:
        self._limits = limits
        self._alone = alone
        self._api = api
        super().__init__(database_url)

    def begin_process(self) -> None:
        """Forget what does not outlive a fork."""
        super().begin_process()
        self._process = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(2)}"
        self._shares: dict[str, Usage] = {}

    def exchange(self, engine: Engine, *, last: bool) -> None:
        """Tell first, so that a pause that was met here is among those that are learnt."""
        del last
        limits, now = dict(self._limits), clock.now()
        with Session(engine) as session:
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

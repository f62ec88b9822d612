"""Tells other processes of pauses and counts, and learns of theirs, and of every rule.

The thread writes what the call path has left for it and reads the rules and pauses of the names in
use, so no call waits for the database but the first under a name.
"""

import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from webapp.db import will_write
from webapp.exchange import Exchange
from webapp.limits.limit import RateLimit, Untold
from webapp.limits.queries import shared_limits
from webapp.limits.service import add_counts, record_pause, record_shares
from webapp.limits.stores import ProcessStore
from webapp.limits.values import MAX_NAME, Counts, Pause, Rule, Usage
from webapp.workers.service import living_processes

# A database that hangs is given up so soon: first calls wait for what it says.
ANSWER_SECONDS: Final = 5.0


class Sharing(Exchange):
    """The link between one process's limits and the store.

    ``limits`` is the registry's own mapping, read only.  Pauses are told and learnt by the clock
    that all processes share, and hold here by this machine's own.
    """

    thread_name = "limit-sharing"
    complaint = "pauses_not_shared"
    answer_seconds = ANSWER_SECONDS

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
        self._told: dict[str, tuple[int, int]] = {}

    def exchange(self, engine: Engine, *, last: bool) -> None:
        """Learn first: a call may wait for that, and to write may take long.

        What was met here and is untold yet stays in force meanwhile.
        """
        del last
        limits = dict(self._limits)
        with Session(engine) as session:
            now = self.shared_now(session)
            self._learn(session, limits, now)
            session.rollback()
            self._tell(session, limits, now)

    def _learn(self, session: Session, limits: Mapping[str, RateLimit], now: datetime) -> None:
        known = shared_limits(session, limits, api=self._api, now=now)
        self._alone.processes = living_processes(session, now=now)
        for name, shared in known.items():
            pause = shared.pause and _moved(shared.pause, self.clock_ahead)
            limits[name].adopt(replace(shared, pause=pause))

    def _tell(self, session: Session, limits: Mapping[str, RateLimit], now: datetime) -> None:
        """Write what is new here; in most beats that is nothing, and no lock is taken."""
        untold = {name: news for name, limit in limits.items() if (news := limit.untold())}
        shares = self._used(limits)
        standing = _standing(shares)
        if not untold and standing == self._told:
            return
        with will_write(), session.begin():
            for name, news in sorted(untold.items()):
                self._write(session, name[:MAX_NAME], news, now)
            if standing != self._told:
                record_shares(session, self._process, shares, now=now)
        self._told = standing
        for name, news in untold.items():
            limits[name].settle(news)

    def _used(self, limits: Mapping[str, RateLimit]) -> dict[str, Usage]:
        used = self._alone.usage({name: limit.rule for name, limit in limits.items() if limit.rule})
        return {name: usage for name, usage in used.items() if usage.used}

    def _write(self, session: Session, name: str, news: Untold, now: datetime) -> None:
        if news.pause:
            record_pause(session, name, _moved(news.pause, -self.clock_ahead), now=now)
        if news.counts != Counts():
            add_counts(session, name, news.counts, now=now)


def _standing(shares: Mapping[str, Usage]) -> dict[str, tuple[int, int]]:
    """Return how many calls count, and until when the oldest does, to the second.

    That time passes is known to whoever reads; that other calls count by now, though as many as
    before, is not.
    """
    moment = time.monotonic()
    return {
        name: (usage.used, round(moment + (usage.reset or 0.0))) for name, usage in shares.items()
    }


def _moved(pause: Pause, by: timedelta) -> Pause:
    return replace(pause, until=pause.until + by)

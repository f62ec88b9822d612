"""Stores the reports of usage that processes without a database leave in Redis.

A report that cannot be stored goes back; what a consumer has just taken when it is killed is lost,
as is what any process has counted and not yet told.
"""

import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from pydantic import ValidationError

from webapp.clock import now
from webapp.flags.reports import UsageReport
from webapp.flags.sinks import USAGE_KEY
from webapp.flags.usage import UsageSink
from webapp.logs import get_logger
from webapp.redis_link import redis_client

log = get_logger(__name__)

COLLECT_SECONDS: Final = 5.0


class UsageCollector:
    """The thread of a consumer that stores waiting reports; ``known`` returns the flags there are.

    Several consumers may collect at once: each report is one's alone.
    """

    def __init__(
        self, redis_url: str, sink: UsageSink, known: Callable[[], Collection[str]]
    ) -> None:
        self._redis_url = redis_url
        self._sink = sink
        self._known = known
        self._process = 0
        self._failing = False

    def keep_collecting(self) -> None:
        """Start the thread, where this process has none yet."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._sink.begin_process()
            threading.Thread(target=self._run, name="flag-usage-collector", daemon=True).start()

    def collect(self) -> int:
        """Store all that waits, and return how many reports that were.

        The flags first: where they cannot be read every report would be of flags that there are
        not.
        """
        known, stored = self._known(), 0
        with redis_client(self._redis_url) as client:
            while (waiting := client.lpop(USAGE_KEY)) is not None:
                try:
                    self._store(bytes(waiting), known)
                except Exception:
                    client.lpush(USAGE_KEY, waiting)
                    raise
                stored += 1
        return stored

    def _store(self, written: bytes, known: Collection[str]) -> None:
        try:
            report = UsageReport.model_validate_json(written)
        except ValidationError as error:
            log.warning("flag_usage_unreadable", errors=error.error_count())
            return
        self._sink.tell(report.batch(known, now=now()))

    def _run(self) -> None:
        while True:
            try:
                self.collect()
                self._failing = False
            except Exception as error:  # noqa: BLE001  # whatever it is, the reports wait
                if not self._failing:
                    log.warning("flag_usage_not_collected", error=type(error).__name__)
                self._failing = True
            time.sleep(COLLECT_SECONDS)

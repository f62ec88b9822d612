"""The log of one running job: its lines, held until the next beat writes them together.

A job that says something neither waits nor commits for it: the heartbeat writes what is a second
old, and the worker the rest before it settles.  A log that cannot be written never fails its job.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from webapp.clock import now
from webapp.db import transaction
from webapp.jobs.journal import MOST_LINES, Line, line_of, write_lines
from webapp.jobs.values import Claim
from webapp.logs import get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 1.0
#: Lines that are written in one transaction.
TOGETHER: Final = 200


class JobLog:
    """What one attempt says; ``add`` is called by the job, ``tend`` by the heartbeat."""

    __slots__ = ("_claim", "_held", "_room", "_writing", "_written")

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._held: list[Line] = []
        # For how many more lines there is room, as far as is known here.
        self._room = MOST_LINES
        self._written = time.monotonic()
        # Made with the first line: most jobs say nothing.
        self._writing: threading.Lock | None = None

    def add(self, event: str, facts: Mapping[str, Any]) -> None:
        """Hold a line; beyond the most that a log holds it is dropped."""
        if self._writing is None:
            self._writing = threading.Lock()
        if len(self._held) < self._room:
            self._held.append(line_of(event, facts, at=now()))

    def tend(self) -> None:
        """Write what has waited long enough, if nobody else is about to."""
        if self._held and time.monotonic() - self._written > EVERY_SECONDS:
            self._write()

    def close(self) -> None:
        """Write what is left; where that fails it is lost, and the worker's own log has it."""
        while self._held and self._write():
            pass
        if self._held:
            log.warning("job_log_lost", lines=len(self._held))

    def _write(self) -> bool:
        """Write one batch; whether that worked."""
        if self._writing is None:
            return False
        with self._writing:
            self._written = time.monotonic()
            batch = self._held[:TOGETHER]
            with suppress(SQLAlchemyError):
                with transaction() as session:
                    self._room = write_lines(session, self._claim, batch)
                del self._held[: len(batch)]
                if not self._room:
                    self._held.clear()
                return True
        return False

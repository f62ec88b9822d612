"""A thread of one process that exchanges news with the others through the database.

It works on a connection of its own, once a second and whenever it is woken, so that no call waits
for the database.  Where that is away the process goes on with what it knows, and says so once a
minute.  Times that are exchanged are those of the database's clock, since the machines' may differ.
What is exchanged is for whoever derives from this.
"""

import threading
import time
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp import clock
from webapp.db import clock_difference, engine_options
from webapp.logs import get_logger
from webapp.redis_link import RedisLink

log = get_logger(__name__)

BEAT_SECONDS: Final = 1.0
COMPLAINT_SECONDS: Final = 60.0
# How often this machine's clock is compared.
CLOCK_SECONDS: Final = 60.0
#: A database that has not answered for so long is away, though it may not have failed yet.
SILENT_SECONDS: Final = 10.0


class Exchange(ABC):
    """The thread, its beats, and its connection.

    ``link`` wakes it when others have told something.  ``thread_name`` names the thread,
    ``complaint`` the event of the log for a database that is away; ``answer_seconds`` is how long
    that may take to answer, None for as long as anywhere.
    """

    thread_name: str
    complaint: str
    answer_seconds: float | None = None

    def __init__(self, database_url: str, link: RedisLink | None = None) -> None:
        self._database_url = database_url
        self.link = link
        self._engine: Engine | None = None
        self._complained_at: float | None = None
        #: By how much this machine's clock is ahead of the database's.
        self.clock_ahead = timedelta()
        self.begin_process()

    def begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, its signals and its connection."""
        self.running = False
        self._failing = False
        self._answered_at = self._compared_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._asking = threading.Lock()
        self._asked: list[threading.Event] = []
        self._stopped = threading.Event()
        if self._engine is not None:
            # Not closed: the parent still speaks through that very socket.
            self._engine.dispose(close=False)
            self._engine = None
        if self.link is not None:
            self.link.begin_process()

    def start(self) -> None:
        """Start the thread of this process, where it does not run."""
        if self.running:
            return
        with self._starting:
            # Once stopped it stays so.
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=self._run, name=self.thread_name, daemon=True
                )
                self._thread.start()
                if self.link is not None:
                    self.link.start(self.wake)
                self.running = True

    def stop(self, *, seconds: float) -> None:
        """Tell what is left and end the thread, within ``seconds``."""
        self._stopped.set()
        self.running = False
        self._wake.set()
        if self.link is not None:
            self.link.stop()
        if self._thread is not None:
            self._thread.join(seconds)

    def wake(self) -> None:
        """Have the thread tell and look now."""
        self._wake.set()

    def look(self, *, seconds: float) -> bool:
        """Have the thread tell and look now, and wait for that, but no longer than ``seconds``.

        False where that was too short; whether the database answered is another question.
        """
        looked = threading.Event()
        # A beat that has begun already may have missed what it is asked for.
        with self._asking:
            self._asked.append(looked)
        self._wake.set()
        return looked.wait(seconds)

    @property
    def failing(self) -> bool:
        """Tell whether the database did not answer when it was last asked."""
        return self._failing

    @property
    def reachable(self) -> bool:
        """Tell whether the database has answered lately."""
        silent = time.monotonic() - self._answered_at > SILENT_SECONDS
        return not (self._failing or silent)

    @abstractmethod
    def exchange(self, engine: Engine, *, last: bool) -> None:
        """Tell what is new here and learn what is new elsewhere; ``last`` when the thread ends."""

    def shared_now(self, session: Session) -> datetime:
        """Return the time by the clock that all processes share."""
        if time.monotonic() - self._compared_at > CLOCK_SECONDS:
            self.clock_ahead = timedelta(seconds=_seconds_ahead(session))
            self._compared_at = time.monotonic()
        return clock.now() - self.clock_ahead

    def _run(self) -> None:
        stopped, wake = self._stopped, self._wake
        while not stopped.is_set():
            self._beat()
            wake.wait(BEAT_SECONDS)
            wake.clear()
        self._beat(last=True)
        if self._engine is not None:
            self._engine.dispose()

    def _beat(self, *, last: bool = False) -> None:
        with self._asking:
            asked, self._asked = self._asked, []
        try:
            self.exchange(self._connected(), last=last)
        except SQLAlchemyError as error:
            self._failing = True
            self._complain(error)
        except Exception:
            # The thread must outlive whatever is wrong with one of its things.
            self._failing = True
            log.exception("exchange_failed", thread=self.thread_name)
        else:
            self._failing, self._complained_at = False, None
            self._answered_at = time.monotonic()
        for looked in asked:
            looked.set()

    def _complain(self, error: SQLAlchemyError) -> None:
        now = time.monotonic()
        if self._complained_at is None or now - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = now
            log.warning(self.complaint, error=type(error).__name__)

    def _connected(self) -> Engine:
        if self._engine is None:
            options = engine_options(self._database_url, answer_seconds=self.answer_seconds)
            self._engine = create_engine(
                self._database_url, **options | {"pool_size": 1, "max_overflow": 0}
            )
        return self._engine


def _seconds_ahead(session: Session) -> float:
    """Return by how much this machine's clock is ahead; how long the answer took is no difference.

    The other clock was read at some time between question and answer: where no difference at all
    is among those that are possible, there is none.
    """
    asked = clock.now()
    least = clock_difference(session, now=asked)
    most = least + (clock.now() - asked).total_seconds()
    return 0.0 if least <= 0 <= most else (least + most) / 2

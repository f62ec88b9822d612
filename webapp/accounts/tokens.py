"""What the tokens of programs are worth, answered from this process's memory.

A request costs one look-up and no lock.  A thread of the process asks the source once a second,
all at once, for the tokens that were used in the last minute, and has their use noted.  What it
has not confirmed for two of its rounds is asked for by the request itself, so a revoked token is
refused by every process within those, whatever became of the thread.

While the source is away the last answer stands for an hour: programs go on evaluating flags.  Of
tokens that nobody knows only the newest are remembered, and for a second only: strangers cannot
fill the memory, and a token that was just made is good at once.

A fork copies the memory but not the thread: the child starts its own with its first request.
"""

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from webapp import clock
from webapp.accounts.policy import token_hash
from webapp.accounts.token_sources import SourceAway, TokenSource, TokenUse, reason_of
from webapp.accounts.values import TokenGrant
from webapp.logs import get_logger
from webapp.promptly import takes_time

log = get_logger(__name__)

TRUSTED_ROUNDS: Final = 2
TRUSTED_WITHOUT_SOURCE: Final = timedelta(hours=1)
# A token that is not shown for so long is no longer asked for by the thread.
IN_USE_FOR: Final = timedelta(minutes=1)
USE_NOTED_EVERY: Final = timedelta(minutes=1)
UNKNOWN_FOR: Final = timedelta(seconds=1)
# A source that is away is asked so often for tokens that were never seen here.
AWAY_FOR: Final = timedelta(seconds=1)
MAX_REMEMBERED: Final = 4096
MAX_UNKNOWN: Final = 1024
LAST_WORD_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Memory:
    """A good token; ``asked_at`` is when the question was put that its grant is the answer to."""

    grant: TokenGrant
    asked_at: datetime
    used_at: datetime
    noted_at: datetime | None = None


class TokenBook:
    """The tokens that one process was shown lately, and the thread that keeps them fresh.

    ``refresh_seconds`` is how often the thread looks, None for as often as the source wants.
    """

    def __init__(self, source: TokenSource, *, refresh_seconds: float | None = None) -> None:
        self._source = source
        self._refresh_seconds = refresh_seconds or source.refresh_seconds
        self._trusted_for = timedelta(seconds=TRUSTED_ROUNDS * source.refresh_seconds)
        self._memories: dict[str, _Memory] = {}
        self._unknown: dict[str, datetime] = {}
        self._failed_at: datetime | None = None
        self._not_noting = False
        self._begin_process()
        _books.add(self)

    def _begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, and locks that others may have held."""
        self._thread: threading.Thread | None = None
        self._changing = threading.Lock()
        self._refreshing = threading.Lock()
        self._stopped = threading.Event()
        self._source.begin_process()

    def grant(self, text: str, now: datetime) -> TokenGrant | None:
        """Return what a token is worth at this moment, or None for nothing.

        :class:`SourceAway` where nobody can tell.
        """
        key = token_hash(text)
        memory = self._memories.get(key)
        # The distance, since a clock that was set back would make an answer last.
        if memory is None or abs(now - memory.asked_at) >= self._trusted_for:
            memory = self._ask(key, text, memory, now)
        if memory is None or not memory.grant.holds(now):
            return None
        memory.used_at = now
        if self._thread is None:
            self._start()
        return memory.grant

    def refresh(self, now: datetime) -> None:
        """Ask for the tokens in use, and note their use.  A failure is told once, not raised."""
        with self._refreshing:
            # Before the answers: the last use of a token that was revoked since is worth knowing.
            used = self._unnoted()
            if keys := self._to_ask(now):
                try:
                    answers = self._source.refresh(keys, now=now)
                except Exception as error:  # noqa: BLE001  # whatever it is, the last answers stand
                    self._note_failure(error, now)
                    return
                self._note_answer()
                self._learn(answers, now)
            self._note_uses(used)

    def stop(self) -> None:
        """End the thread and forget all tokens; the next request would begin anew."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(LAST_WORD_SECONDS)
        self._memories, self._unknown = {}, {}
        self._failed_at, self._not_noting = None, False
        self._source.close()
        self._begin_process()

    def _ask(self, key: str, text: str, known: _Memory | None, now: datetime) -> _Memory | None:
        """Ask the source while the request waits, unless the answer would be none."""
        stands = known is not None and now - known.asked_at <= TRUSTED_WITHOUT_SOURCE
        last = known if stands else None
        if self._failed_at is not None:
            # The thread goes on asking, and will have noticed within a second of its return.
            if last is not None:
                return last
            if abs(now - self._failed_at) < AWAY_FOR:
                raise SourceAway
        if known is None and self._is_unknown(key, now):
            return None
        takes_time()
        try:
            grant = self._source.find(text, now=now)
        except SourceAway as error:
            self._note_failure(error, now)
            if last is None:
                raise
            return last
        self._note_answer()
        return self._remember(key, grant, now)

    def _is_unknown(self, key: str, now: datetime) -> bool:
        asked_at = self._unknown.get(key)
        return asked_at is not None and abs(now - asked_at) < UNKNOWN_FOR

    def _remember(self, key: str, grant: TokenGrant | None, now: datetime) -> _Memory | None:
        with self._changing:
            if grant is None:
                self._memories.pop(key, None)
                self._unknown.pop(key, None)
                if len(self._unknown) >= MAX_UNKNOWN:
                    del self._unknown[next(iter(self._unknown))]
                self._unknown[key] = now
                return None
            self._unknown.pop(key, None)
            memory = self._memories.get(key)
            if memory is None:
                self._make_room()
                memory = self._memories[key] = _Memory(grant, now, now)
            # In this order: whoever reads the time must find the answer to it.
            memory.grant = grant
            memory.asked_at = now
            return memory

    def _make_room(self) -> None:
        if len(self._memories) >= MAX_REMEMBERED:
            del self._memories[min(self._memories, key=lambda key: self._memories[key].used_at)]

    def _to_ask(self, now: datetime) -> list[str]:
        """Return the tokens in use, those first that wait the longest.

        While the source is away that is all there are: one that is shown again after a pause must
        not be good by an answer from before the outage.
        """
        with self._changing:
            found = [
                (memory.asked_at, key)
                for key, memory in self._memories.items()
                if self._failed_at is not None or now - memory.used_at < IN_USE_FOR
            ]
        return [key for _, key in sorted(found)]

    def _learn(self, answers: Mapping[str, TokenGrant | None], asked_at: datetime) -> None:
        with self._changing:
            for key, grant in answers.items():
                memory = self._memories.get(key)
                if memory is None or memory.asked_at > asked_at:
                    # A request has asked meanwhile: its answer is the newer one.
                    continue
                if grant is None:
                    del self._memories[key]
                else:
                    memory.grant = grant
                    memory.asked_at = asked_at

    def _unnoted(self) -> list[tuple[_Memory, TokenUse]]:
        """Return the last uses that are to be written: each token's at most once a minute."""
        with self._changing:
            return [
                (memory, TokenUse(key, memory.used_at))
                for key, memory in self._memories.items()
                if memory.noted_at is None or memory.used_at - memory.noted_at >= USE_NOTED_EVERY
            ]

    def _note_uses(self, used: Sequence[tuple[_Memory, TokenUse]]) -> None:
        if not used:
            return
        try:
            self._source.note_uses([use for _, use in used])
        except Exception as error:  # noqa: BLE001  # it is tried again with the next round
            if not self._not_noting:
                log.warning("token_use_not_noted", reason=reason_of(error))
            self._not_noting = True
            return
        self._not_noting = False
        for memory, use in used:
            memory.noted_at = use.at

    def _note_failure(self, error: Exception, now: datetime) -> None:
        if self._failed_at is None:
            log.warning("tokens_not_confirmed", reason=reason_of(error))
        self._failed_at = now

    def _note_answer(self) -> None:
        if self._failed_at is not None:
            log.info("tokens_confirmed_again")
        self._failed_at = None

    def _start(self) -> None:
        with self._changing:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._watch, args=(self._stopped,), name="token-watcher", daemon=True
                )
                thread.start()
                self._thread = thread

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._refresh_seconds):
            self.refresh(clock.now())


_books: weakref.WeakSet[TokenBook] = weakref.WeakSet()


def _after_fork() -> None:
    for book in list(_books):
        book._begin_process()  # noqa: SLF001  # this module's own class


os.register_at_fork(after_in_child=_after_fork)

"""Tokens as they were published in Redis: read by their hashes, and written as a whole.

One hash holds every good token: its SHA-256 hash is the field, what it is worth is the value.  A
further field says when it was published, so that a Redis that lost everything is known to be one
that can tell nothing, rather than one that knows no tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from redis import Redis
from redis.exceptions import RedisError, WatchError

from webapp.accounts.policy import token_hash
from webapp.accounts.token_sources import SourceAway, TokenUse
from webapp.accounts.values import TokenGrant
from webapp.redis_link import redis_client

KEY: Final = "ff:tokens"
# No hash of a token has a name like this.
PUBLISHED_AT: Final = "published_at"
ANSWER_SECONDS: Final = 1.0
# What nobody has confirmed for so long is no longer believed, as with any source that is away.
BELIEVED_FOR: Final = timedelta(hours=1)
# Publishing begins anew where another process has published meanwhile.
ATTEMPTS: Final = 10

Load = Callable[[datetime], Mapping[str, TokenGrant]]

_GRANT = TypeAdapter(TokenGrant)


class RedisTokens:
    """The source of processes that have Redis and no database; others publish here."""

    refresh_seconds = 1.0

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._client: Redis | None = None

    def begin_process(self) -> None:
        """Drop the connections in a forked child: they belong to the parent."""
        self._client = None

    def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def find(self, text: str, *, now: datetime) -> TokenGrant | None:
        """Return what a token was worth when it was published."""
        key = token_hash(text)
        return self.refresh([key], now=now)[key]

    def refresh(self, keys: Sequence[str], *, now: datetime) -> Mapping[str, TokenGrant | None]:
        """Return what tokens are worth, in one command; :class:`SourceAway` where none are told."""
        with _answering():
            published_at, *values = self._values([PUBLISHED_AT, *keys])
        if published_at is None:
            raise SourceAway from LookupError("no tokens are published")
        if now - datetime.fromisoformat(published_at.decode()) > BELIEVED_FOR:
            raise SourceAway from LookupError("the tokens were published too long ago")
        return {key: _read(value) for key, value in zip(keys, values, strict=True)}

    def note_uses(self, uses: Sequence[TokenUse]) -> None:
        """Note nothing: the database keeps it, and nobody carries it there from here."""

    def publish(self, load: Load, *, now: datetime) -> None:
        """Put what ``load`` returns in the place of all that was published, at once."""
        with _answering(), self._connected().pipeline() as pipe:
            for _ in range(ATTEMPTS):
                with suppress(WatchError):
                    _replace(pipe, load, now)
                    return
        raise SourceAway from WatchError("others published all the time")

    def _values(self, fields: list[str]) -> list[bytes | None]:
        values: Any = self._connected().hmget(KEY, fields)
        return list(values)

    def _connected(self) -> Redis:
        # Of two threads that come first at once, one pool is kept and the other is collected.
        if self._client is None:
            # The book and the beat ask again by themselves; a request cannot wait for it.
            self._client = redis_client(self._redis_url, seconds=ANSWER_SECONDS)
        return self._client


def _replace(pipe: Any, load: Load, now: datetime) -> None:
    # Watched before the database is read: whoever read it earlier and writes later would bring
    # a token back that was revoked in between.
    pipe.watch(KEY)
    fields: dict[str, bytes] = {key: _GRANT.dump_json(grant) for key, grant in load(now).items()}
    fields[PUBLISHED_AT] = now.isoformat().encode()
    pipe.multi()
    pipe.delete(KEY)
    pipe.hset(KEY, mapping=fields)
    pipe.execute()


def _read(value: bytes | None) -> TokenGrant | None:
    """Read a grant; one that only a newer version understands is worth nothing here."""
    if value is None:
        return None
    try:
        return _GRANT.validate_json(value)
    except ValidationError:
        return None


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise SourceAway from error

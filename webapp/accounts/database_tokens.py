"""Tokens as the database knows them: read by their hashes, their last use written.

On connections of its own, with short limits: a request that shows a token is not to wait as long
as one that came for something in the database, and it need not be Flask that serves it.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, create_engine, or_, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.accounts.models import ApiToken
from webapp.accounts.policy import token_hash
from webapp.accounts.queries import find_standings, find_tokens, good_tokens
from webapp.accounts.token_sources import SourceAway, TokenUse
from webapp.accounts.values import Standing, TokenGrant
from webapp.db import engine_options, reading, transaction

ANSWER_SECONDS = 2.0
USE_NOTED_EVERY = timedelta(minutes=1)
# One connection is kept, for the thread that asks every second; requests seldom need another.
_POOL: dict[str, Any] = {"pool_size": 1, "max_overflow": 2, "pool_timeout": ANSWER_SECONDS}


class DatabaseTokens:
    """The source of processes that have the database."""

    refresh_seconds = 1.0

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._engine: Engine | None = None
        self.begin_process()

    def begin_process(self) -> None:
        """Forget what does not outlive a fork: the connections, and a lock that others held."""
        self._connecting = threading.Lock()
        if self._engine is not None:
            # Not closed: the parent still speaks through those very sockets.
            self._engine.dispose(close=False)

    def close(self) -> None:
        """Let the connections go."""
        if self._engine is not None:
            self._engine.dispose()

    def find(self, text: str, *, now: datetime) -> TokenGrant | None:
        """Return what a token is worth, or None where it is unknown or revoked."""
        key = token_hash(text)
        return self.refresh([key], now=now)[key]

    def refresh(self, keys: Sequence[str], *, now: datetime) -> Mapping[str, TokenGrant | None]:
        """Return what tokens are worth, in one statement."""
        del now
        with _answering(), reading(self._connected()) as session:
            found = find_tokens(session, keys)
        return {key: found.get(key) for key in keys}

    def published(self, now: datetime) -> Mapping[str, TokenGrant]:
        """Return every token that is worth something, by its hash."""
        with _answering(), reading(self._connected()) as session:
            return good_tokens(session, now=now)

    def standings(self, user_ids: Collection[int]) -> Mapping[int, Standing]:
        """Return how accounts stand, by their ids; those that may not act are left out."""
        with _answering(), reading(self._connected()) as session:
            return find_standings(session, user_ids)

    def note_uses(self, uses: Sequence[TokenUse]) -> None:
        """Write when tokens were last used, unless another process has noted it this minute."""
        with _answering(), transaction(self._connected()) as session:
            # Always in this order, so that two processes cannot wait for each other.
            for use in sorted(uses, key=lambda use: use.key):
                earlier = or_(
                    ApiToken.last_used_at.is_(None),
                    ApiToken.last_used_at <= use.at - USE_NOTED_EVERY,
                )
                session.execute(
                    update(ApiToken)
                    .where(ApiToken.token_hash == use.key, earlier)
                    .values(last_used_at=use.at)
                )

    def _connected(self) -> Engine:
        with self._connecting:
            if self._engine is None:
                options = engine_options(self._database_url, answer_seconds=ANSWER_SECONDS)
                self._engine = create_engine(self._database_url, **(options | _POOL))
            return self._engine


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise SourceAway from error

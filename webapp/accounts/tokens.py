"""What the tokens of programs are worth, asked for with every request that shows one.

Answers are remembered for two seconds, so that a busy program does not cost a query each time,
and a revoked token is refused by every process within those.  While the database is away the last
answer stands for an hour: programs go on evaluating flags.  A token that was never known is never
remembered, so strangers cannot fill the memory.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.accounts.models import ApiToken
from webapp.accounts.policy import token_hash
from webapp.accounts.queries import find_token
from webapp.accounts.values import TokenGrant
from webapp.db import reading, transaction
from webapp.logs import get_logger

log = get_logger(__name__)

TRUSTED_FOR = timedelta(seconds=2)
TRUSTED_WITHOUT_DATABASE = timedelta(hours=1)
USE_NOTED_EVERY = timedelta(minutes=1)
REMEMBERED = 1024


@dataclass(slots=True)
class _Memory:
    grant: TokenGrant
    asked_at: datetime
    use_noted_at: datetime | None = None


class TokenBook:
    """The tokens that this process was shown lately; one for each application."""

    def __init__(self) -> None:
        self._memories: OrderedDict[str, _Memory] = OrderedDict()
        self._lock = Lock()

    def grant(self, text: str, now: datetime) -> TokenGrant | None:
        """Return what a token is worth at this moment, or None for nothing."""
        key = token_hash(text)
        memory = self._memories.get(key)
        if memory is None or not now - memory.asked_at < TRUSTED_FOR:
            memory = self._ask(key, text, memory, now)
        if memory is None or not memory.grant.holds(now):
            return None
        self._note_use(memory, now)
        return memory.grant

    def _ask(self, key: str, text: str, known: _Memory | None, now: datetime) -> _Memory | None:
        try:
            with reading() as session:
                grant = find_token(session, text)
        except SQLAlchemyError:
            if known is None or now - known.asked_at > TRUSTED_WITHOUT_DATABASE:
                raise
            log.warning("token_not_asked", token_name=known.grant.name)
            return known
        with self._lock:
            if grant is None:
                self._memories.pop(key, None)
                return None
            memory = _Memory(grant, now, known.use_noted_at if known else None)
            self._memories[key] = memory
            self._memories.move_to_end(key)
            while len(self._memories) > REMEMBERED:
                self._memories.popitem(last=False)
        return memory

    def _note_use(self, memory: _Memory, now: datetime) -> None:
        """Write when the token was last used, at most once a minute; a failure stops nobody."""
        if memory.use_noted_at is not None and now - memory.use_noted_at < USE_NOTED_EVERY:
            return
        memory.use_noted_at = now
        earlier = or_(
            ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - USE_NOTED_EVERY
        )
        try:
            with transaction() as session:
                session.execute(
                    update(ApiToken)
                    .where(ApiToken.id == memory.grant.id, earlier)
                    .values(last_used_at=now)
                )
        except SQLAlchemyError as error:
            log.warning("token_use_not_noted", reason=type(error).__name__)

"""What others see of accounts, without their rows: who is signed in, what a token is worth."""

from dataclasses import dataclass
from datetime import datetime

from webapp.roles import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person with an account, as one session sees it."""

    id: int
    username: str
    role: Role
    epoch: int
    created_at: datetime
    last_sign_in_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """What a program may do that shows a certain token, and until when.

    ``id`` is None where another instance told of it, which keeps that to itself, and of a token
    that was signed for a person: then ``kind`` is user, and ``name`` is theirs.
    """

    id: int | None = None
    kind: str = "token"
    name: str
    role: Role
    environment: str | None
    expires_at: datetime | None

    def holds(self, now: datetime) -> bool:
        """Tell whether the token has not run out."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands that may act: what was signed for another epoch or role is void."""

    username: str
    role: Role
    epoch: int

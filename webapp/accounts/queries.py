"""Reads accounts: whose session this is, what a token is worth, and the lists of both."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, and_, func, not_, or_, select

from webapp.accounts.models import ApiToken, User, UserSession
from webapp.accounts.policy import (
    SESSION_LIFETIME,
    browser_in_words,
    normal_username,
    session_handle,
    token_hash,
)
from webapp.accounts.values import Account, Standing, TokenGrant
from webapp.db import DbSession
from webapp.errors import NotFound
from webapp.paging import PAGE_SIZE, count_up_to_cap
from webapp.roles import Role

MOST_SESSIONS = 100
Item = TypeVar("Item")


class TokenState(StrEnum):
    """What an API token is worth; one that was revoked stays so after it would have run out."""

    GOOD = "good"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """An account as admins see it."""

    id: int
    username: str
    role: Role
    active: bool
    created_at: datetime
    last_sign_in_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """An API token as admins see it: all but the token."""

    id: int
    name: str
    prefix: str
    role: Role
    environment: str | None
    state: TokenState
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A place where somebody is signed in; ``handle`` is what a page may call it."""

    id: str
    handle: str
    address: str | None
    browser: str
    started_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class UserFilters:
    """What narrows the list of accounts; an empty text asks for everything."""

    text: str = ""
    role: str = ""
    active: bool | None = None

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return bool(self.text or self.role or self.active is not None)


@dataclass(frozen=True, slots=True)
class TokenFilters:
    """What narrows the list of tokens; an empty text asks for everything."""

    text: str = ""
    role: str = ""
    state: str = ""

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return bool(self.text or self.role or self.state)


@dataclass(frozen=True, slots=True)
class Listed(Generic[Item]):
    """Some of a list, after so many others; the total is counted up to a cap."""

    rows: Sequence[Item]
    total: int
    skip: int


def session_account(
    session: DbSession, user_id: int, epoch: int, session_id: str, *, now: datetime
) -> Account | None:
    """Return who a session belongs to, or None where it has ended."""
    found = session.execute(
        select(User, UserSession.last_used_at)
        .join(UserSession, UserSession.user_id == User.id)
        .where(
            User.id == user_id,
            User.epoch == epoch,
            User.active,
            UserSession.id == session_id,
            UserSession.started_at > now - SESSION_LIFETIME,
        )
    ).one_or_none()
    return _account(*found) if found else None


def _account(user: User, last_used_at: datetime | None) -> Account:
    return Account(
        id=user.id,
        username=user.username,
        role=Role(user.role),
        epoch=user.epoch,
        created_at=user.created_at,
        last_sign_in_at=user.last_sign_in_at,
        last_used_at=last_used_at,
    )


def find_user(session: DbSession, username: str) -> User | None:
    """Return the account of this name, however it is written, if it may sign in."""
    return session.scalar(
        select(User).where(User.username == normal_username(username), User.active)
    )


def find_standings(session: DbSession, user_ids: Collection[int]) -> dict[int, Standing]:
    """Return how accounts stand, by their ids; those that may not act are left out."""
    rows = session.execute(
        select(User.id, User.username, User.role, User.epoch).where(
            User.id.in_(user_ids), User.active
        )
    )
    return {row.id: Standing(row.username, Role(row.role), row.epoch) for row in rows}


def count_sessions(session: DbSession, user_id: int, *, now: datetime) -> int:
    """Return in how many places an account is signed in."""
    standing = select(func.count()).where(
        UserSession.user_id == user_id, UserSession.started_at > now - SESSION_LIFETIME
    )
    return session.scalar(standing) or 0


def find_token(session: DbSession, text: str) -> TokenGrant | None:
    """Return what a token is worth, or None where it is unknown or revoked."""
    key = token_hash(text)
    return find_tokens(session, [key]).get(key)


def find_tokens(session: DbSession, keys: Collection[str]) -> dict[str, TokenGrant]:
    """Return what tokens are worth, by their hashes; the unknown and the revoked are left out."""
    rows = session.scalars(
        select(ApiToken).where(ApiToken.token_hash.in_(keys), ApiToken.revoked_at.is_(None))
    )
    return {token.token_hash: _grant_of(token) for token in rows}


def good_tokens(session: DbSession, *, now: datetime) -> dict[str, TokenGrant]:
    """Return every token that is worth something at this moment, by its hash."""
    rows = session.scalars(
        select(ApiToken).where(
            ApiToken.revoked_at.is_(None),
            or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now),
        )
    )
    return {token.token_hash: _grant_of(token) for token in rows}


def _grant_of(token: ApiToken) -> TokenGrant:
    return TokenGrant(
        id=token.id,
        name=token.name,
        role=Role(token.role),
        environment=token.environment,
        expires_at=token.expires_at,
    )


def list_users(session: DbSession) -> Sequence[User]:
    """Return every account, by name."""
    return session.scalars(select(User).order_by(User.username)).all()


def list_tokens(session: DbSession) -> Sequence[ApiToken]:
    """Return every token, by name."""
    return session.scalars(select(ApiToken).order_by(ApiToken.name)).all()


def find_users(
    session: DbSession, filters: UserFilters, *, skip: int = 0, limit: int = PAGE_SIZE
) -> Listed[UserView]:
    """Return some of the accounts that fit, by name: two statements."""
    wanted = select(User)
    if filters.text:
        wanted = wanted.where(User.username.contains(filters.text.lower(), autoescape=True))
    if filters.role:
        wanted = wanted.where(User.role == filters.role)
    if filters.active is not None:
        wanted = wanted.where(User.active if filters.active else ~User.active)
    rows = session.scalars(wanted.order_by(User.username).offset(skip).limit(limit))
    return Listed([_user_view(user) for user in rows], count_up_to_cap(session, wanted), skip)


def view_user(session: DbSession, user_id: int) -> UserView:
    """Return one account; :class:`NotFound` where there is none."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("This account does not exist.")
    return _user_view(user)


def find_api_tokens(
    session: DbSession,
    filters: TokenFilters,
    *,
    now: datetime,
    skip: int = 0,
    limit: int = PAGE_SIZE,
) -> Listed[TokenView]:
    """Return some of the tokens that fit, by name: two statements."""
    wanted = select(ApiToken)
    if filters.text:
        wanted = wanted.where(
            or_(
                func.lower(ApiToken.name).contains(filters.text.lower(), autoescape=True),
                ApiToken.prefix.startswith(filters.text, autoescape=True),
            )
        )
    if filters.role:
        wanted = wanted.where(ApiToken.role == filters.role)
    if filters.state:
        wanted = wanted.where(_in_state(TokenState(filters.state), now))
    rows = session.scalars(wanted.order_by(ApiToken.name).offset(skip).limit(limit))
    views = [_token_view(token, now) for token in rows]
    return Listed(views, count_up_to_cap(session, wanted), skip)


def view_token(session: DbSession, token_id: int, *, now: datetime) -> TokenView:
    """Return one token; :class:`NotFound` where there is none."""
    token = session.get(ApiToken, token_id)
    if token is None:
        raise NotFound("This token does not exist.")
    return _token_view(token, now)


def sessions_of(session: DbSession, user_id: int, *, now: datetime) -> list[SessionView]:
    """Return where an account is signed in, the last used first; at most so many as are shown."""
    rows = session.scalars(
        select(UserSession)
        .where(UserSession.user_id == user_id, UserSession.started_at > now - SESSION_LIFETIME)
        .order_by(UserSession.last_used_at.desc().nulls_last(), UserSession.started_at.desc())
        .limit(MOST_SESSIONS)
    )
    return [
        SessionView(
            id=row.id,
            handle=session_handle(row.id),
            address=row.address,
            browser=browser_in_words(row.user_agent),
            started_at=row.started_at,
            last_used_at=row.last_used_at,
        )
        for row in rows
    ]


def _in_state(state: TokenState, now: datetime) -> ColumnElement[bool]:
    ran_out = and_(ApiToken.expires_at.is_not(None), ApiToken.expires_at <= now)
    if state == TokenState.REVOKED:
        return ApiToken.revoked_at.is_not(None)
    return and_(
        ApiToken.revoked_at.is_(None), ran_out if state == TokenState.EXPIRED else not_(ran_out)
    )


def _user_view(user: User) -> UserView:
    return UserView(
        id=user.id,
        username=user.username,
        role=Role(user.role),
        active=user.active,
        created_at=user.created_at,
        last_sign_in_at=user.last_sign_in_at,
    )


def _token_view(token: ApiToken, now: datetime) -> TokenView:
    expired = token.expires_at is not None and token.expires_at <= now
    state = TokenState.EXPIRED if expired else TokenState.GOOD
    return TokenView(
        id=token.id,
        name=token.name,
        prefix=token.prefix,
        role=Role(token.role),
        environment=token.environment,
        state=TokenState.REVOKED if token.revoked_at else state,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
        created_at=token.created_at,
        created_by=token.created_by,
    )

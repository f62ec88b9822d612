"""Reads accounts: whose session this is, what a token is worth, and the lists of both."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, or_, select

from webapp.accounts.models import ApiToken, User, UserSession
from webapp.accounts.policy import SESSION_LIFETIME, normal_username, token_hash
from webapp.accounts.values import Account, TokenGrant
from webapp.db import DbSession
from webapp.roles import Role


def session_account(
    session: DbSession, user_id: int, epoch: int, session_id: str, *, now: datetime
) -> Account | None:
    """Return who a session belongs to, or None where it has ended."""
    user = session.scalar(
        select(User)
        .join(UserSession, UserSession.user_id == User.id)
        .where(
            User.id == user_id,
            User.epoch == epoch,
            User.active,
            UserSession.id == session_id,
            UserSession.started_at > now - SESSION_LIFETIME,
        )
    )
    return account_of(user) if user else None


def account_of(user: User) -> Account:
    """Return what others may see of an account."""
    return Account(
        id=user.id,
        username=user.username,
        role=Role(user.role),
        epoch=user.epoch,
        created_at=user.created_at,
        last_sign_in_at=user.last_sign_in_at,
    )


def find_user(session: DbSession, username: str) -> User | None:
    """Return the account of this name, however it is written, if it may sign in."""
    return session.scalar(
        select(User).where(User.username == normal_username(username), User.active)
    )


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

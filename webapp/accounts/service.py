"""Writes accounts: people, their passwords and sessions, and the tokens of programs.

What signs a person in stands in ``sign_in``.  No secret leaves this module but the text of a new
token, once.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.exc import IntegrityError

from webapp.accounts.models import ApiToken, User, UserSession
from webapp.accounts.passwords import hash_password
from webapp.accounts.policy import (
    SESSION_LIFETIME,
    USE_NOTED_EVERY,
    normal_username,
    password_problem,
    session_handle,
    token_hash,
    username_problem,
)
from webapp.accounts.token_publishing import publish_tokens
from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession, storable
from webapp.errors import Conflict, Invalid, NotFound
from webapp.reasons import checked_reason
from webapp.roles import Role

TOKEN_PREFIX = "swy_"  # noqa: S105 - how every token begins
TOKEN_BYTES = 30  # 40 urlsafe characters
SHOWN_CHARACTERS = 10
MAX_NAME = 100
MAX_ENVIRONMENT = 64
MAX_ADDRESS = 64
MAX_USER_AGENT = 200


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made; ``text`` can be shown now and never again."""

    id: int
    name: str
    text: str


def create_user(
    session: DbSession, username: str, *, password: str, role: Role, by: Actor, now: datetime
) -> User:
    """Make an account.  :class:`Invalid` names the field; :class:`Conflict` where it exists."""
    username = normal_username(username)
    problems = {
        field: [problem]
        for field, problem in (
            ("username", username_problem(username)),
            ("password", password_problem(password, username)),
        )
        if problem
    }
    if problems:
        field, messages = next(iter(problems.items()))
        raise Invalid(f"{field}: {messages[0]}", problems)
    user = User(
        username=username,
        password_hash=hash_password(password),
        role=role.value,
        epoch=1,
        active=True,
        created_at=now,
    )
    _add(session, user, f"There is an account {username} already.")
    record(
        session,
        by=by,
        at=now,
        action="user.created",
        subject="user",
        name=username,
        changes={"role": Change(None, role)},
    )
    return user


def change_password(
    session: DbSession, user_id: int, password: str, *, by: Actor, now: datetime, reason: str = ""
) -> None:
    """Give an account a new password and end all its sessions."""
    user = locked_user(session, user_id)
    problem = password_problem(password, user.username)
    if problem:
        raise Invalid.field("password", problem)
    user.password_hash = hash_password(password)
    end_sessions(session, user)
    record(
        session,
        by=by,
        at=now,
        action="user.password_changed",
        subject="user",
        name=user.username,
        reason=reason,
    )


def sign_out_everywhere(
    session: DbSession, user_id: int, *, by: Actor, now: datetime, reason: str = ""
) -> None:
    """End all sessions of an account, and void the access tokens that were signed for it."""
    user = locked_user(session, user_id)
    end_sessions(session, user)
    record(
        session,
        by=by,
        at=now,
        action="user.signed_out_everywhere",
        subject="user",
        name=user.username,
        reason=reason,
    )


def begin_session(
    session: DbSession,
    user_id: int,
    *,
    address: str | None = None,
    user_agent: str | None = None,
    now: datetime,
) -> str:
    """Open a session and return its id; those that are too old to be shown again are removed."""
    session.execute(
        delete(UserSession).where(
            UserSession.user_id == user_id, UserSession.started_at <= now - SESSION_LIFETIME
        )
    )
    opened = UserSession(
        id=secrets.token_urlsafe(24),
        user_id=user_id,
        started_at=now,
        address=storable(address)[:MAX_ADDRESS] if address else None,
        user_agent=storable(user_agent)[:MAX_USER_AGENT] if user_agent else None,
        last_used_at=now,
    )
    session.add(opened)
    session.flush()
    return opened.id


def end_session(session: DbSession, session_id: str) -> None:
    """End one session: a copy of its cookie is worthless from now on."""
    session.execute(delete(UserSession).where(UserSession.id == session_id))


def note_session_use(session: DbSession, session_id: str, *, now: datetime) -> None:
    """Write when a session was last used, unless another request has noted it just now."""
    earlier = or_(
        UserSession.last_used_at.is_(None), UserSession.last_used_at <= now - USE_NOTED_EVERY
    )
    session.execute(
        update(UserSession).where(UserSession.id == session_id, earlier).values(last_used_at=now)
    )


def end_session_by_handle(
    session: DbSession, user_id: int, handle: str, *, by: Actor, now: datetime
) -> None:
    """End one of an account's own sessions, by the handle that its page shows."""
    ids = session.scalars(select(UserSession.id).where(UserSession.user_id == user_id)).all()
    session_id = next((found for found in ids if session_handle(found) == handle), None)
    # Of two requests at once one removes the row, and the audit says so once.
    removed = session_id and session.scalar(
        delete(UserSession).where(UserSession.id == session_id).returning(UserSession.id)
    )
    if not removed:
        raise NotFound("This session has ended already.")
    record(
        session,
        by=by,
        at=now,
        action="user.session_ended",
        subject="user",
        name=locked_user(session, user_id).username,
    )


def create_token(  # noqa: PLR0913 - what a token is worth is told in full
    session: DbSession,
    name: str,
    *,
    role: Role,
    environment: str | None = None,
    expires_at: datetime | None = None,
    by: Actor,
    now: datetime,
) -> NewToken:
    """Make a token.  An empty name gives it one from its role and its first characters."""
    text = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    name = name.strip() or f"{role}-{text[len(TOKEN_PREFIX) : SHOWN_CHARACTERS]}"
    environment = (environment or "").strip() or None
    _check_token(name, environment, expires_at, now)
    token = ApiToken(
        name=name,
        prefix=text[:SHOWN_CHARACTERS],
        token_hash=token_hash(text),
        role=role.value,
        environment=environment,
        expires_at=expires_at,
        created_by=by.name,
        created_at=now,
    )
    _add(session, token, f"There is a token {name} already.")
    record(
        session,
        by=by,
        at=now,
        action="token.created",
        subject="token",
        name=name,
        changes={
            "role": Change(None, role),
            "environment": Change(None, environment),
            "expires_at": Change(None, expires_at),
        },
    )
    publish_tokens(session)
    return NewToken(token.id, name, text)


def revoke_token(session: DbSession, name: str, *, by: Actor, now: datetime, reason: str) -> None:
    """Make a token worthless for good; one that is already stays as it is."""
    reason = checked_reason(reason)
    if not session.scalar(select(exists().where(ApiToken.name == name))):
        raise NotFound(f"There is no token {name}.")
    # Of two who revoke at once, one changes the row and the audit says so once.
    changed = session.execute(
        update(ApiToken)
        .where(ApiToken.name == name, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiToken.id)
    ).all()
    if changed:
        record(
            session,
            by=by,
            at=now,
            action="token.revoked",
            subject="token",
            name=name,
            reason=reason,
            changes={"revoked_at": Change(None, now)},
        )
        publish_tokens(session)


def _check_token(
    name: str, environment: str | None, expires_at: datetime | None, now: datetime
) -> None:
    if len(name) > MAX_NAME:
        raise Invalid.field("name", f"Use at most {MAX_NAME} characters.")
    if environment and len(environment) > MAX_ENVIRONMENT:
        raise Invalid.field("environment", f"Use at most {MAX_ENVIRONMENT} characters.")
    if expires_at is not None and expires_at <= now:
        raise Invalid.field("expires_at", "Must lie ahead.")


def _add(session: DbSession, row: User | ApiToken, taken: str) -> None:
    """Insert a row whose name must be free; the unique constraint decides a race."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict(taken) from None


def locked_user(session: DbSession, user_id: int) -> User:
    """Return an account's row as it is now, held until the transaction ends."""
    # Whoever asks may have read it before the lock: what was changed in between must not be undone.
    user = session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise NotFound("This account does not exist.")
    return user


def end_sessions(session: DbSession, user: User) -> None:
    """End all sessions of an account, and its epoch with them."""
    user.epoch += 1
    session.execute(delete(UserSession).where(UserSession.user_id == user.id))

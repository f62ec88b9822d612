"""Writes what admins change about other people's accounts: role, activity, password, sessions.

Somebody must always be left who may administer: the last active admin stays one.
"""

import secrets
from datetime import datetime

from sqlalchemy import select

from webapp.accounts import service
from webapp.accounts.models import User
from webapp.accounts.service import end_sessions, locked_user
from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.reasons import checked_reason
from webapp.roles import Role

# 20 characters, of 120 bits: nobody guesses it, and it can be read out.
PASSWORD_BYTES = 15


def made_up_password() -> str:
    """Return a password to be shown once."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def change_user(  # noqa: PLR0913 - each field is one that may be left as it is
    session: DbSession,
    user_id: int,
    *,
    role: Role | None = None,
    active: bool | None = None,
    by: Actor,
    now: datetime,
    reason: str,
) -> User:
    """Change an account's role, or whether it may act; None leaves a field as it is.

    Whoever may no longer act is signed out, and another role voids the access tokens that were
    signed for the one before.  :class:`Conflict` where nobody would be left to administer.
    """
    reason = checked_reason(reason)
    # Before the account itself, and all in one order: two admins who take each other's role away
    # at one moment wait for each other here, and the second finds itself the last.
    admins = _locked_admins(session)
    user = locked_user(session, user_id)
    loses = (role is not None and role != Role.ADMIN) or active is False
    if loses and admins == [user.id]:
        raise Conflict(f"{user.username} is the last active admin: make another one first.")
    if role is not None and role != user.role:
        before, user.role = user.role, role.value
        changes = {"role": Change(before, role)}
        _record(session, user, "user.role_changed", by=by, now=now, reason=reason, changes=changes)
    if active is not None and active != user.active:
        user.active = active
        if not active:
            end_sessions(session, user)
        action = "user.reactivated" if active else "user.deactivated"
        changes = {"active": Change(not active, active)}
        _record(session, user, action, by=by, now=now, reason=reason, changes=changes)
    return user


def reset_password(
    session: DbSession, user_id: int, *, by: Actor, now: datetime, reason: str, password: str = ""
) -> str:
    """Give an account a new password and end all its sessions; returns it, to be shown once.

    An empty password has one made up.
    """
    reason = checked_reason(reason)
    password = password or made_up_password()
    service.change_password(session, user_id, password, by=by, now=now, reason=reason)
    return password


def sign_out(session: DbSession, user_id: int, *, by: Actor, now: datetime, reason: str) -> None:
    """End all sessions of an account."""
    reason = checked_reason(reason)
    service.sign_out_everywhere(session, user_id, by=by, now=now, reason=reason)


def _locked_admins(session: DbSession) -> list[int]:
    wanted = (
        select(User.id)
        .where(User.role == Role.ADMIN.value, User.active)
        .order_by(User.id)
        .with_for_update()
    )
    return list(session.scalars(wanted))


def _record(  # noqa: PLR0913 - what the audit is told, all of it named
    session: DbSession,
    user: User,
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    changes: dict[str, Change],
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="user",
        name=user.username,
        reason=reason,
        changes=changes,
    )

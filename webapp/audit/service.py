"""Writes the audit, and reads one thing's history out of it for other capabilities.

An entry is added to the transaction of the change that it tells of: both stand, or neither.  It is
written, and chained to the one before it, as the last thing before the commit.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from webapp.actors import Actor
from webapp.audit.chain import Facts
from webapp.audit.pending import add_pending, write_pending
from webapp.audit.queries import count_entries_about, entries_about
from webapp.audit.values import Change, Entry
from webapp.db import DbSession
from webapp.logs import mask_secrets
from webapp.moments import rfc3339


def record(  # noqa: PLR0913 - each is a column of the entry, and all are named at the call
    session: DbSession,
    *,
    by: Actor,
    at: datetime,
    action: str,
    subject: str,
    name: str,
    reason: str = "",
    changes: Mapping[str, Change] | None = None,
) -> None:
    """Add one entry to this transaction.

    ``action`` is ``<noun>.<what happened>``, such as ``flag.updated``; ``subject`` is the noun and
    ``name`` the one that was changed.  Values whose field speaks of a secret are masked.
    """
    add_pending(
        session,
        Facts(
            at=at,
            actor_kind=by.kind,
            actor=by.name,
            action=action,
            subject=subject,
            name=name,
            reason=reason.strip(),
            changes=_stored(changes or {}),
            request_id=by.request_id,
        ),
    )


def history(
    session: DbSession, subject: str, name: str, limit: int = 20, *, skip: int = 0
) -> list[Entry]:
    """Return the last changes of one thing, newest first, those of this transaction too."""
    write_pending(session)
    return entries_about(session, subject, name, limit, skip=skip)


def history_length(session: DbSession, subject: str, name: str) -> int:
    """Count the changes of one thing, up to 10,001."""
    write_pending(session)
    return count_entries_about(session, subject, name)


def _stored(changes: Mapping[str, Change]) -> dict[str, list[Any]]:
    old = mask_secrets(None, "", {field: _plain(change.old) for field, change in changes.items()})
    new = mask_secrets(None, "", {field: _plain(change.new) for field, change in changes.items()})
    return {field: [old[field], new[field]] for field in changes}


def _plain(value: Any) -> Any:
    """Turn a value into what JSON can hold."""
    # Most are plain, and an import asks this a hundred times of each of thousands.
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)

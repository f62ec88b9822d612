"""Rows with a version: each change is one more, and none is made on top of a state nobody saw.

Whoever reads, thinks and writes later says which version that was; between reading and writing the
database itself looks.  The loser of two learns of it by a :class:`Conflict` and changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import ColumnElement, CursorResult, and_, bindparam, delete, inspect, update
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.util import identity_key

from webapp.actors import Actor
from webapp.db import DbSession
from webapp.errors import Conflict

FIRST_VERSION = 1


class Versioned(Protocol):
    """A row of a table with the columns ``updated_at`` and ``updated_by``, too."""

    @property
    def name(self) -> str:
        """What the row is called to people."""

    @property
    def version(self) -> int:
        """Number its states from 1."""


def refuse_outdated(stored: Versioned, version: int | None) -> None:
    """Refuse a change that was made from another version; None is from whichever stands."""
    if version is not None and version != stored.version:
        raise _outdated(stored, version)


def write_version(
    session: DbSession, stored: Versioned, values: Mapping[str, Any], *, by: Actor, now: datetime
) -> None:
    """Store values as the next version of a row, and read it anew."""
    result = session.execute(
        update(type(stored))
        .where(_as_read(stored))
        .values(**values, version=stored.version + 1, updated_at=now, updated_by=by.name)
        .execution_options(synchronize_session=False)
    )
    _check_won(session, stored, result)
    session.refresh(stored)


class NextVersion(NamedTuple):
    """What a row becomes: the version that was read, the one that it will be, and its columns."""

    id: int
    read: int
    version: int
    values: Mapping[str, Any]


def write_versions(
    session: DbSession, model: Any, rows: Iterable[NextVersion], *, by: Actor, now: datetime
) -> None:
    """Store many rows' next versions, in one statement for all that change the same columns.

    Whoever has one of them in this session reads it anew.  :class:`Conflict` where one is no longer
    what was read; then none may be committed.
    """
    together: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        values = {**row.values, "version": row.version}
        given = {_NEW + name: values[name] for name in sorted(values)}
        together[tuple(sorted(values))].append(given | {"row_id": row.id, "read": row.read})
    for names, same in together.items():
        _write_together(session, model, names, same, by=by, now=now)


def _write_together(
    session: DbSession,
    model: Any,
    names: Iterable[str],
    rows: list[dict[str, Any]],
    *,
    by: Actor,
    now: datetime,
) -> None:
    statement = (
        update(model)
        .where(model.id == bindparam("row_id"), model.version == bindparam("read"))
        .values({name: bindparam(_NEW + name) for name in names})
        .values(updated_at=now, updated_by=by.name)
    )
    # The session itself would take a list for rows by their keys alone, whatever their versions.
    result = session.connection().execute(statement, rows)
    if result.rowcount != len(rows):
        raise Conflict("One of these was changed meanwhile.")
    for row in rows:
        known = session.identity_map.get(identity_key(model, row["row_id"]))
        if known is not None:
            session.expire(known)


# A parameter may not be called like the column that it is for.
_NEW: Final = "new_"


def remove_version(session: DbSession, stored: Versioned) -> None:
    """Remove a row that is still what was read."""
    result = session.execute(
        delete(type(stored)).where(_as_read(stored)).execution_options(synchronize_session=False)
    )
    _check_won(session, stored, result)
    session.expunge(stored)


def _as_read(stored: Versioned) -> ColumnElement[bool]:
    """Return the condition that the row is the one that was read, and at that version."""
    state = _state(stored)
    keys = zip(state.mapper.primary_key, state.identity or (), strict=True)
    at_version = state.mapper.columns["version"] == stored.version
    return and_(*(key == value for key, value in keys), at_version)


def _state(stored: Versioned) -> InstanceState[Any]:
    state: InstanceState[Any] = inspect(stored, raiseerr=True)
    return state


def _check_won(session: DbSession, stored: Versioned, result: Any) -> None:
    if isinstance(result, CursorResult) and result.rowcount > 0:
        return
    read = stored.version
    if session.get(type(stored), _state(stored).identity, populate_existing=True) is None:
        raise Conflict(f"{stored.name} was removed meanwhile.")
    raise _outdated(stored, read)


def _outdated(stored: Versioned, version: int) -> Conflict:
    return Conflict(
        f"{stored.name} was changed meanwhile: you started from version {version}, "
        f"it is at version {stored.version}."
    )

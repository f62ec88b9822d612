"""What pages show of the fields of a source, and of how they changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, SQLColumnExpression, func, select

from webapp.db import DbSession
from webapp.paging import Cursor, Page, Scan, fetch_page
from webapp.sources.drift import DriftState, schema_from_json
from webapp.sources.models import SchemaDrift, Source

SHOWN = 20


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field as it is shown: under its name of now, ``first_name`` where it had another.

    ``mapped_to`` are the names that the source's mapping gives it.
    """

    name: str
    type: str
    since: datetime
    share: float
    first_name: str | None
    mapped_to: Sequence[str]
    is_key: bool


def held_renames(source_id: SQLColumnExpression[int] | None = None) -> ScalarSelect[Any]:
    """Return the statement that counts the renames that wait for a decision."""
    wanted = select(func.count()).where(SchemaDrift.state == DriftState.HELD)
    if source_id is not None:
        wanted = wanted.where(SchemaDrift.source_id == source_id)
    return wanted.select_from(SchemaDrift).scalar_subquery()


def fields_of(source: Source) -> list[FieldView]:
    """Return the fields that a source had last."""
    first = {now: name for name, now in source.renames.items()}
    mapped: dict[str, list[str]] = {}
    for new, old in source.mapping.items():
        mapped.setdefault(source.renames.get(old, old), []).append(new)
    key = source.renames.get(source.key_field, source.key_field)
    return [
        FieldView(
            name,
            known.type,
            datetime.fromisoformat(known.since),
            known.share,
            first.get(name),
            mapped.get(name, []),
            name in {key, source.key_field},
        )
        for name, known in schema_from_json(source.schema).items()
    ]


def shown_drifts(session: DbSession, source: Source, limit: int = SHOWN) -> Sequence[SchemaDrift]:
    """Return the newest drifts of a source, and before them those that wait for a decision."""
    held = SchemaDrift.state == DriftState.HELD
    wanted = select(SchemaDrift).where(SchemaDrift.source_id == source.id)
    newest = wanted.order_by(held.desc(), SchemaDrift.id.desc()).limit(limit)
    return session.scalars(newest).all()


def drifts_of(
    session: DbSession, source: Source, cursor: Cursor, *, state: str = "", size: int
) -> Page[SchemaDrift]:
    """Return a page of a source's drifts, newest first, those of one state only."""
    wanted = select(SchemaDrift).where(SchemaDrift.source_id == source.id)
    if state:
        wanted = wanted.where(SchemaDrift.state == state)
    return fetch_page(
        session, wanted, Scan(SchemaDrift.id), cursor, present=lambda row: row, size=size
    )

"""Noting how the fields of a source change, in the transaction of the batch that shows it.

The source is locked by whoever calls, so each change is noted by one run and only once: what was
noted is part of the source's schema from then on.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import select, update

from webapp.db import DbSession, gather_for_commit
from webapp.sources.counting import count_drift
from webapp.sources.drift import (
    Drift,
    DriftState,
    KnownField,
    Terms,
    find_drift,
    find_retyped,
    learned,
    schema_from_json,
    schema_to_json,
    settled,
    with_rename,
)
from webapp.sources.models import EtlRun, SchemaDrift, Source
from webapp.sources.profiles import Profile, extend
from webapp.sources.values import Batch


def observe(
    session: DbSession, source: Source, run: EtlRun, batch: Batch, *, sure: float, now: datetime
) -> None:
    """Take a batch into the run's profile; with the first one, compare it with the schema.

    A rename that is at least so sure is in ``source.renames`` from then on.
    """
    first = run.profile is None
    if not batch.columns:
        return
    before = Profile() if run.profile is None else Profile.from_json(run.profile)
    profile = extend(before, batch.columns, [row.fields for row in batch.rows])
    if profile == before:
        # Nothing new: what is written for each batch is not written for nothing.
        return
    run.profile = profile.to_json()
    if first:
        schema = schema_from_json(source.schema)
        _learn(session, source, run, (schema, profile), sure=sure, now=now)


def conclude(
    session: DbSession, source: Source, run: EtlRun, *, sure: float, now: datetime
) -> None:
    """Compare what a whole run has seen with the schema: types, and names that came up later."""
    if run.profile is None:
        return
    profile = Profile.from_json(run.profile)
    schema = schema_from_json(source.schema)
    retyped = find_retyped(schema, profile)
    known = _learn(session, source, run, (schema, profile), sure=sure, now=now)
    _note(session, source, run, retyped, now=now)
    source.schema = schema_to_json(settled(known, profile))
    run.profile = None


def _learn(
    session: DbSession,
    source: Source,
    run: EtlRun,
    compared: tuple[dict[str, KnownField], Profile],
    *,
    sure: float,
    now: datetime,
) -> dict[str, KnownField]:
    """Compare names, note what differs, and take the run's names into the schema."""
    schema, profile = compared
    drifts: list[Drift] = []
    # What a source's first run finds is no change.
    if any(item.run != run.id for item in schema.values()):
        drifts = find_drift(schema, profile, _terms(session, source, sure))
    for drift in drifts:
        if drift.state == DriftState.APPLIED:
            source.renames = with_rename(source.renames, drift.field, cast("str", drift.new_field))
    _withdraw(session, source, [name for name in profile.fields if name not in schema], now=now)
    _note(session, source, run, drifts, now=now)
    known = learned(schema, profile, drifts, since=now.isoformat(), run=run.id)
    source.schema = schema_to_json(known)
    return known


def _terms(session: DbSession, source: Source, sure: float) -> Terms:
    """Return how renames are decided; two names whose rename was rejected are two things."""
    rejected = session.execute(
        select(SchemaDrift.field, SchemaDrift.new_field).where(
            SchemaDrift.source_id == source.id, SchemaDrift.state == DriftState.REJECTED
        )
    )
    keys = {source.key_field, source.renames.get(source.key_field, source.key_field)}
    pairs = {pair for old, new in rejected for pair in ((old, new), (new, old))}
    return Terms(threshold=sure, rejected=pairs, keys=keys)


def _withdraw(session: DbSession, source: Source, back: Sequence[str], *, now: datetime) -> None:
    """Ask no more whether a field has another name that is back under its own."""
    if back:
        session.execute(
            update(SchemaDrift)
            .where(
                SchemaDrift.source_id == source.id,
                SchemaDrift.state == DriftState.HELD,
                SchemaDrift.field.in_(back),
            )
            .values(state=DriftState.WITHDRAWN, decided_at=now)
        )


def _note(
    session: DbSession, source: Source, run: EtlRun, drifts: Sequence[Drift], *, now: datetime
) -> None:
    session.add_all(
        SchemaDrift(
            source_id=source.id,
            run_id=run.id,
            found_at=now,
            kind=drift.kind,
            field=drift.field,
            new_field=drift.new_field,
            from_type=drift.from_type,
            to_type=drift.to_type,
            confidence=drift.confidence,
            state=drift.state,
        )
        for drift in drifts
    )
    run.drift = dict(Counter(run.drift) + Counter(str(drift.kind) for drift in drifts))
    for drift in drifts:
        gather_for_commit(session, count_drift, (source.name, str(drift.kind)))

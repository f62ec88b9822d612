"""Writing flags: versions, conflicts, audit and revision in one transaction, on both databases."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.audit.models import AuditEntry
from webapp.audit.service import history
from webapp.audit.values import FieldChange
from webapp.db import db, transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.flags.models import FeatureFlag
from webapp.flags.queries import FlagFilters, get_flag, list_flags, read_revision
from webapp.flags.service import (
    archive_flag,
    change_flag,
    create_flag,
    draft_of,
    purge_flag,
    restore_flag,
    switch_flag,
)
from webapp.flags.values import (
    Condition,
    FlagChanges,
    FlagDraft,
    Operator,
    Prerequisite,
    Rule,
    Variant,
)

BY = Actor("user", "mira", "request-1")
DRAFT = FlagDraft(
    name="ui.beta",
    description="A beta.",
    enabled=True,
    percentage=25.07,
    whitelist=("a",),
    environments=("production",),
    environment_overrides={"staging": True, "demo": 12.5},
    tags=("ui",),
    metadata={"owner": {"team": "web"}},
)


@pytest.fixture
def flag(session: Session, now: datetime) -> FeatureFlag:
    return create_flag(session, DRAFT, by=BY, now=now, reason="first")


def test_a_flag_is_stored_as_it_was_drafted(session: Session, flag: FeatureFlag) -> None:
    session.expire(flag)
    stored = draft_of(get_flag(session, "ui.beta"))
    assert stored.stickiness == "ui.beta"
    assert {stored.percentage, flag.version, flag.created_by} == {25.07, 1, "mira"}
    assert (stored.environment_overrides, stored.metadata) == (
        DRAFT.environment_overrides,
        DRAFT.metadata,
    )
    assert stored.environment_overrides["staging"] is True


def test_a_taken_name_is_a_conflict_also_where_it_is_archived(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    archive_flag(session, flag.name, by=BY, now=now, reason="over")
    with pytest.raises(Conflict):
        create_flag(session, DRAFT, by=BY, now=now, reason="again")


def test_a_change_writes_version_audit_and_revision(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    revision = read_revision(session)
    changes = FlagChanges(percentage=50.0, tags=("ui", "new"))
    change_flag(session, flag.name, changes, by=BY, now=now, reason=" flat ", version=1)
    assert (flag.version, flag.percentage, flag.updated_by) == (2, 50.0, "mira")
    assert read_revision(session) == revision + 1
    entry = history(session, "flag", flag.name, 1)[0]
    assert (entry.action, entry.actor, entry.reason) == ("flag.updated", "mira", "flat")
    assert entry.request_id == "request-1"
    assert set(map(str, entry.changes)) == {
        str(FieldChange("percentage", 25.07, 50.0)),
        str(FieldChange("tags", ["ui"], ["ui", "new"])),
    }


def test_a_refused_change_leaves_nothing(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    session.commit()
    with pytest.raises(Invalid) as refusal:
        change_flag(
            session, flag.name, FlagChanges(percentage=101, tags=("A",)), by=BY, now=now, reason=""
        )
    session.rollback()
    assert set(refusal.value.errors) == {"percentage", "tags", "reason"}
    assert get_flag(session, flag.name).version == 1
    assert session.scalar(select(func.count()).select_from(AuditEntry)) == 1


def test_an_old_version_is_a_conflict_that_names_the_present_one(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    change_flag(session, flag.name, FlagChanges(percentage=1), by=BY, now=now, reason="r")
    with pytest.raises(Conflict, match="version 2"):
        change_flag(
            session, flag.name, FlagChanges(percentage=2), by=BY, now=now, reason="r", version=1
        )
    assert get_flag(session, flag.name).percentage == 1


def test_a_change_to_the_same_values_is_none(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    change_flag(session, flag.name, FlagChanges(percentage=25.07), by=BY, now=now, reason="r")
    assert flag.version == 1
    assert len(history(session, "flag", flag.name)) == 1


def test_an_id_may_not_be_on_both_lists_wherever_it_was_first(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    with pytest.raises(Invalid) as refusal:
        change_flag(session, flag.name, FlagChanges(blacklist=("a",)), by=BY, now=now, reason="r")
    assert set(refusal.value.errors) == {"blacklist"}


def test_the_kill_switch_does_not_ask_for_a_version(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    change_flag(session, flag.name, FlagChanges(percentage=1), by=BY, now=now, reason="r")
    switch_flag(session, flag.name, enabled=False, by=BY, now=now, reason="errors")
    assert not get_flag(session, flag.name).enabled


def test_an_archived_flag_leaves_the_list_and_can_be_restored(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    archive_flag(session, flag.name, by=BY, now=now, reason="over")
    assert list_flags(session, FlagFilters(), now=now).total == 0
    assert list_flags(session, FlagFilters(state="archived"), now=now).total == 1
    with pytest.raises(Conflict):
        switch_flag(session, flag.name, enabled=False, by=BY, now=now, reason="r")
    restore_flag(session, flag.name, by=BY, now=now, reason="back")
    assert list_flags(session, FlagFilters(), now=now).total == 1
    actions = [entry.action for entry in history(session, "flag", flag.name)]
    assert actions == ["flag.restored", "flag.archived", "flag.created"]


BUILDS = FlagDraft(name="builds.on", prerequisites=(Prerequisite(flag="ui.beta"),))


def test_a_flag_that_others_in_use_build_on_is_not_archived(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    for name in ("z.too", "builds.on"):
        create_flag(session, replace(BUILDS, name=name), by=BY, now=now, reason="r")
    with pytest.raises(Conflict, match=r"ui\.beta is a prerequisite of builds\.on, z\.too;"):
        archive_flag(session, flag.name, by=BY, now=now, reason="over")
    change_flag(session, "z.too", FlagChanges(prerequisites=()), by=BY, now=now, reason="r")
    with pytest.raises(Conflict, match=r"prerequisite of builds\.on;"):
        archive_flag(session, flag.name, by=BY, now=now, reason="over")
    archive_flag(session, "builds.on", by=BY, now=now, reason="over")
    assert archive_flag(session, flag.name, by=BY, now=now, reason="over").archived_at == now


def test_a_flag_that_archived_ones_build_on_is_not_purged(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    create_flag(session, BUILDS, by=BY, now=now, reason="r")
    for name in ("builds.on", "ui.beta"):
        archive_flag(session, name, by=BY, now=now, reason="over")
    with pytest.raises(Conflict, match=r"prerequisite of builds\.on;"):
        purge_flag(session, "ui.beta", by=BY, now=now, reason="gone")
    for name in ("builds.on", "ui.beta"):
        purge_flag(session, name, by=BY, now=now, reason="gone")
    with pytest.raises(NotFound):
        get_flag(session, "ui.beta")


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_prerequisites_never_lead_in_a_circle(session: Session, now: datetime, length: int) -> None:
    names = [f"flag{number}" for number in range(length)]
    for name, needed in zip(names, [None, *names], strict=False):
        items = (Prerequisite(flag=needed),) if needed else ()
        draft = FlagDraft(name=name, prerequisites=items)
        create_flag(session, draft, by=BY, now=now, reason="r")
    closing = FlagChanges(prerequisites=(Prerequisite(flag=names[-1], enabled=False),))
    path = " → ".join([names[0], *reversed(names)])
    with pytest.raises(Invalid, match=f"Leads in a circle: {path}"):
        change_flag(session, names[0], closing, by=BY, now=now, reason="r")
    assert draft_of(get_flag(session, names[0])).prerequisites == ()


def test_an_archived_flag_is_in_the_circle_too(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    create_flag(session, BUILDS, by=BY, now=now, reason="r")
    archive_flag(session, "builds.on", by=BY, now=now, reason="r")
    closing = FlagChanges(prerequisites=(Prerequisite(flag="builds.on"),))
    with pytest.raises(Invalid, match="circle"):
        change_flag(session, flag.name, closing, by=BY, now=now, reason="r")


def test_rules_and_variants_are_stored_as_drafted_and_audited_as_plain_data(
    session: Session, flag: FeatureFlag, now: datetime
) -> None:
    condition = Condition(attribute="plan", operator=Operator.IN, values=("pro",), negate=True)
    changes = FlagChanges(
        rules=(Rule(name="r", conditions=(condition,), percentage=12.34),),
        variants=(Variant(name="red", weight=1, value={"a": [1, True]}),),
    )
    change_flag(session, flag.name, changes, by=BY, now=now, reason="r")
    session.expire(flag)
    stored = draft_of(get_flag(session, flag.name))
    assert (stored.rules, stored.variants) == (changes.rules, changes.variants)
    audited = {
        change.field: change.new for change in history(session, "flag", flag.name, 1)[0].changes
    }
    assert audited["variants"] == [{"name": "red", "weight": 1, "value": {"a": [1, True]}}]
    assert audited["rules"][0]["conditions"][0]["values"] == ["pro"]
    change_flag(session, flag.name, changes, by=BY, now=now, reason="again")
    assert flag.version == 2
    # For JSON 1 and true are not the same, so neither are they for a change.
    other = replace(changes, variants=(Variant(name="red", weight=1, value={"a": [True, True]}),))
    assert change_flag(session, flag.name, other, by=BY, now=now, reason="r").version == 3


def test_an_unknown_flag_is_not_found(session: Session, now: datetime) -> None:
    with pytest.raises(NotFound):
        switch_flag(session, "none", enabled=True, by=BY, now=now, reason="r")


def test_of_many_writers_from_one_version_one_wins(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        create_flag(session, DRAFT, by=BY, now=now, reason="first")

    def save(percentage: int) -> str:
        changes = FlagChanges(percentage=percentage)
        with app.app_context():
            try:
                with transaction() as session:
                    change_flag(session, DRAFT.name, changes, by=BY, now=now, reason="r", version=1)
            except Conflict:
                return "conflict"
            return "saved"

    with ThreadPoolExecutor(8) as threads:
        outcomes = Counter(threads.map(save, range(8)))
    assert outcomes == {"saved": 1, "conflict": 7}
    with app.app_context():
        assert get_flag(db.session, DRAFT.name).version == 2
        assert len(history(db.session, "flag", DRAFT.name)) == 2


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (FlagFilters(), ["a.one", "b.two", "c.three"]),
        (FlagFilters(sort="-percentage"), ["c.three", "b.two", "a.one"]),
        (FlagFilters(q="TWO"), ["b.two"]),
        (FlagFilters(q="second"), ["b.two"]),
        (FlagFilters(state="killed"), ["c.three"]),
        (FlagFilters(environment="staging"), ["a.one", "b.two"]),
        (FlagFilters(environment="production"), ["a.one", "c.three"]),
        (FlagFilters(tag="ui"), ["a.one"]),
        (FlagFilters(sort="nonsense"), ["a.one", "b.two", "c.three"]),
    ],
)
def test_a_list_is_narrowed_and_ordered(
    session: Session, now: datetime, filters: FlagFilters, names: list[str]
) -> None:
    for draft in (
        FlagDraft(name="b.two", description="Second", percentage=10, environments=("staging",)),
        FlagDraft(name="a.one", enabled=True, whitelist=("x",), tags=("ui",)),
        FlagDraft(name="c.three", percentage=20, environments=("production",)),
    ):
        enabled = draft.name != "c.three"
        create_flag(session, draft, by=BY, now=now, reason="r")
        switch_flag(session, draft.name, enabled=enabled, by=BY, now=now, reason="r")
    assert [row.name for row in list_flags(session, filters, now=now).rows] == names

"""Writing segments and groups: versions, conflicts, audit and revision, on both databases."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.audit.service import history
from webapp.audit.values import FieldChange
from webapp.db import db, reading, transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.flags import evaluate, is_enabled
from webapp.flags.models import FlagGroup, FlagSegment
from webapp.flags.queries import read_revision
from webapp.flags.relations import get_group, get_segment, list_groups, list_segments
from webapp.flags.service import archive_flag, change_flag, create_flag, purge_flag
from webapp.flags.shared import (
    Trace,
    change_group,
    change_segment,
    create_group,
    create_segment,
    group_draft,
    remove_group,
    remove_segment,
    segment_draft,
)
from webapp.flags.values import (
    Condition,
    FlagChanges,
    FlagDraft,
    GroupDraft,
    Operator,
    Reason,
    Rule,
    SegmentDraft,
)

BY = Actor("user", "mira", "request-1")
PRO = Condition(attribute="plan", operator=Operator.IN, values=("pro",))
TEAM = Condition(attribute="plan", operator=Operator.IN, values=("team", "pro"), negate=True)
SEGMENT = SegmentDraft(name="press", description="Who writes.", conditions=(PRO, TEAM))
GROUP = GroupDraft(name="press", description="For who writes.")
FOR_PRESS = Rule(name="press", segments=("press",), percentage=100.0)
FLAG = FlagDraft(name="ui.beta", enabled=True, rules=(FOR_PRESS,), group="press")


class Kind(NamedTuple):
    """A segment or a group, and what is done to it."""

    noun: str
    draft: Any
    changed: Any
    create: Callable[..., Any]
    change: Callable[..., Any]
    remove: Callable[..., None]
    get: Callable[..., Any]
    draft_of: Callable[..., Any]
    # A flag that uses it, and what lets go of it.
    used: FlagDraft
    unused: FlagChanges


KINDS = [
    Kind(
        "segment",
        SEGMENT,
        replace(SEGMENT, description="", conditions=(PRO,)),
        create_segment,
        change_segment,
        remove_segment,
        get_segment,
        segment_draft,
        replace(FLAG, group=None),
        FlagChanges(rules=()),
    ),
    Kind(
        "group",
        GROUP,
        replace(GROUP, description=""),
        create_group,
        change_group,
        remove_group,
        get_group,
        group_draft,
        replace(FLAG, rules=()),
        FlagChanges(group=None),
    ),
]


@pytest.fixture(params=KINDS, ids=["segment", "group"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def trace(now: datetime) -> Trace:
    return Trace(BY, now, " wanted ")


def test_what_is_made_is_stored_as_drafted(session: Session, kind: Kind, trace: Trace) -> None:
    revision = read_revision(session)
    made = kind.create(session, kind.draft, trace)
    session.expire(made)
    assert kind.draft_of(kind.get(session, "press")) == kind.draft
    assert (made.version, made.created_by, made.updated_at) == (1, "mira", trace.now)
    assert read_revision(session) > revision
    (entry,) = history(session, kind.noun, "press")
    assert (entry.action, entry.actor, entry.reason) == (f"{kind.noun}.created", "mira", "wanted")
    assert entry.request_id == "request-1"
    assert FieldChange("description", None, kind.draft.description) in entry.changes


def test_a_change_writes_version_audit_and_revision(
    session: Session, kind: Kind, trace: Trace
) -> None:
    kind.create(session, kind.draft, trace)
    revision = read_revision(session)
    later = trace._replace(by=replace(BY, name="otto"), reason="less")
    stored = kind.change(session, kind.changed, later, version=1)
    assert (stored.version, stored.created_by, stored.updated_by) == (2, "mira", "otto")
    assert kind.draft_of(stored) == kind.changed
    assert read_revision(session) == revision + 1
    entry = history(session, kind.noun, "press", 1)[0]
    assert (entry.action, entry.actor, entry.reason) == (f"{kind.noun}.updated", "otto", "less")
    assert FieldChange("description", kind.draft.description, "") in entry.changes
    fields = {change.field for change in entry.changes}
    assert fields == ({"description", "conditions"} if kind.noun == "segment" else {"description"})


def test_the_same_values_again_leave_no_trace(session: Session, kind: Kind, trace: Trace) -> None:
    kind.create(session, kind.draft, trace)
    stored = kind.change(session, kind.draft, trace._replace(now=trace.now.replace(year=2027)))
    assert (stored.version, stored.updated_at, len(history(session, kind.noun, "press"))) == (
        1,
        trace.now,
        1,
    )


def test_a_taken_name_is_a_conflict(session: Session, kind: Kind, trace: Trace) -> None:
    kind.create(session, kind.draft, trace)
    with pytest.raises(Conflict, match=f"a {kind.noun} 'press' already"):
        kind.create(session, kind.changed, trace)


def test_an_old_version_is_a_conflict_that_names_the_present_one(
    session: Session, kind: Kind, trace: Trace
) -> None:
    kind.create(session, kind.draft, trace)
    kind.change(session, kind.changed, trace, version=1)
    with pytest.raises(Conflict, match="from version 1, it is at version 2"):
        kind.change(session, kind.draft, trace, version=1)
    assert kind.draft_of(kind.get(session, "press")) == kind.changed


def test_of_many_writers_from_one_version_one_wins(app: Flask, kind: Kind, trace: Trace) -> None:
    with app.app_context(), transaction() as session:
        kind.create(session, kind.draft, trace)

    def save(number: int) -> str:
        draft = replace(kind.draft, description=str(number))
        with app.app_context():
            try:
                with transaction() as session:
                    kind.change(session, draft, trace, version=1)
            except Conflict:
                return "conflict"
            return "saved"

    with ThreadPoolExecutor(6) as threads:
        outcomes = Counter(threads.map(save, range(6)))
    assert outcomes == {"saved": 1, "conflict": 5}
    with app.app_context():
        assert kind.get(db.session, "press").version == 2
        assert len(history(db.session, kind.noun, "press")) == 2


def test_what_is_refused_leaves_nothing(session: Session, kind: Kind, trace: Trace) -> None:
    kind.create(session, kind.draft, trace)
    session.commit()
    wrong = replace(kind.draft, name="Press", description="d" * 2_001)
    for write, draft, fields in (
        (kind.create, wrong, {"name", "description", "reason"}),
        (kind.change, replace(wrong, name="press"), {"description", "reason"}),
    ):
        with pytest.raises(Invalid) as refusal:
            write(session, draft, trace._replace(reason=" "))
        session.rollback()
        assert set(refusal.value.errors) == fields
    assert (kind.get(session, "press").version, len(history(session, kind.noun, "press"))) == (1, 1)


def test_what_is_not_there_is_not_found(session: Session, kind: Kind, trace: Trace) -> None:
    for act in (
        partial(kind.get, session, "press"),
        partial(kind.change, session, kind.draft, trace),
        partial(kind.remove, session, "press", trace),
    ):
        with pytest.raises(NotFound, match=f"no {kind.noun} 'press'"):
            act()


def test_what_is_used_is_not_removed_also_by_an_archived_flag(
    session: Session, kind: Kind, trace: Trace
) -> None:
    kind.create(session, kind.draft, trace)
    named = trace._asdict()
    create_flag(session, replace(kind.used, name="z.other"), **named)
    create_flag(session, kind.used, **named)
    with pytest.raises(Conflict, match=r"used by ui\.beta, z\.other"):
        kind.remove(session, "press", trace)
    change_flag(session, "z.other", kind.unused, **named)
    archive_flag(session, "ui.beta", **named)
    with pytest.raises(Conflict, match=r"used by ui\.beta;"):
        kind.remove(session, "press", trace)
    purge_flag(session, "ui.beta", **named)
    kind.remove(session, "press", trace)
    with pytest.raises(NotFound):
        kind.get(session, "press")


def test_a_removal_keeps_the_last_state_and_frees_the_name(
    session: Session, kind: Kind, trace: Trace
) -> None:
    kind.create(session, kind.draft, trace)
    revision = read_revision(session)
    with pytest.raises(Invalid):
        kind.remove(session, "press", trace._replace(reason=""))
    kind.remove(session, "press", trace._replace(reason="over"))
    assert read_revision(session) > revision
    entry = history(session, kind.noun, "press", 1)[0]
    assert (entry.action, entry.reason) == (f"{kind.noun}.removed", "over")
    assert FieldChange("description", kind.draft.description, None) in entry.changes
    assert kind.create(session, kind.changed, trace).version == 1


def test_lists_are_by_name_and_tell_who_uses_what(session: Session, trace: Trace) -> None:
    for name in ("press", "a.first", "unused"):
        create_segment(session, replace(SEGMENT, name=name), trace)
        create_group(session, replace(GROUP, name=name), trace)
    twice = Rule(name="again", segments=("press", "a.first"), percentage=1.0)
    for flag in (
        FLAG,
        replace(FLAG, name="archived", rules=(FOR_PRESS, twice)),
        replace(FLAG, name="neither", group=None, rules=()),
    ):
        create_flag(session, flag, **trace._asdict())
    archive_flag(session, "archived", **trace._asdict())
    segments = {item.segment.name: item.flags for item in list_segments(session)}
    assert list(segments.items()) == [
        ("a.first", ["archived"]),
        ("press", ["archived", "ui.beta"]),
        ("unused", []),
    ]
    groups = {item.group.name: item.flags for item in list_groups(session)}
    assert list(groups.items()) == [
        ("a.first", []),
        ("press", ["archived", "ui.beta"]),
        ("unused", []),
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rules": (replace(FOR_PRESS, segments=("gone",)),)}, "rules"),
        ({"group": "gone"}, "group"),
    ],
)
def test_a_flag_refers_only_to_what_is_there(
    session: Session, trace: Trace, changes: dict[str, Any], field: str
) -> None:
    create_segment(session, SEGMENT, trace)
    create_group(session, GROUP, trace)
    with pytest.raises(Invalid) as refusal:
        create_flag(session, replace(FLAG, **changes), **trace._asdict())
    assert set(refusal.value.errors) == {field}
    create_flag(session, FLAG, **trace._asdict())
    with pytest.raises(Invalid) as refusal:
        change_flag(session, FLAG.name, FlagChanges(**changes), **trace._asdict())
    assert set(refusal.value.errors) == {field}


@pytest.fixture
def beta(app: Flask, trace: Trace) -> str:
    """A flag that is on for a segment only."""
    with app.app_context(), transaction() as session:
        create_segment(session, replace(SEGMENT, conditions=(PRO,)), trace)
        create_group(session, GROUP, trace)
        create_flag(session, FLAG, **trace._asdict())
    return FLAG.name


def test_a_changed_segment_changes_decisions_at_once(app: Flask, beta: str, trace: Trace) -> None:
    pro, team = {"plan": "pro"}, {"plan": "team"}
    with app.app_context():
        decision = evaluate(beta, "u", attributes=pro)
        assert (decision.reason, decision.rule) == (Reason.RULE, "press")
        assert not is_enabled(beta, "u", attributes=team)
        with transaction() as session:
            change = replace(SEGMENT, conditions=(replace(PRO, values=("team",)),))
            change_segment(session, change, trace)
            # Nobody acts on what may still be taken back.
            assert is_enabled(beta, "u", attributes=pro)
        assert not is_enabled(beta, "u", attributes=pro)
        assert is_enabled(beta, "u", attributes=team)


def test_a_flag_and_a_removal_that_meet_leave_no_flag_without_its_segment(
    app: Flask, kind: Kind, trace: Trace
) -> None:
    with app.app_context(), transaction() as session:
        kind.create(session, kind.draft, trace)

    def use(number: int) -> str:
        with app.app_context():
            try:
                with transaction() as session:
                    flag = replace(kind.used, name=f"flag{number}")
                    create_flag(session, flag, **trace._asdict())
            except Invalid:
                return "invalid"
            return "used"

    def remove(_: int) -> str:
        with app.app_context():
            try:
                with transaction() as session:
                    kind.remove(session, "press", trace)
            except Conflict:
                return "conflict"
            return "removed"

    with ThreadPoolExecutor(2) as threads:
        outcomes = {threads.submit(use, 1), threads.submit(remove, 0)}
    assert {item.result() for item in outcomes} in ({"used", "conflict"}, {"invalid", "removed"})
    with app.app_context(), reading() as session:
        left = session.scalars(select(FlagSegment if kind.noun == "segment" else FlagGroup)).all()
        assert len(left) == ("used" in {item.result() for item in outcomes})

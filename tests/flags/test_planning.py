"""An import is decided before it locks anything, and leaves what the service would have left."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.flags.conftest import Send
from tests.statements import statements
from webapp.actors import Actor
from webapp.audit.models import AuditEntry
from webapp.audit.service import history
from webapp.audit.verification import verify
from webapp.db import reading, transaction, write_from_here
from webapp.flags import transfer, validation
from webapp.flags.models import FeatureFlag
from webapp.flags.planning import FlagPlan, Found, ImportOutcome, Results, WantedFlag
from webapp.flags.queries import all_flags, get_flag
from webapp.flags.service import archive_flag, change_flag, create_flag, restore_flag
from webapp.flags.shared import Trace, create_segment, remove_segment
from webapp.flags.transfer import Wanted, import_all
from webapp.flags.values import (
    Condition,
    FlagChanges,
    FlagDraft,
    Operator,
    PlanStep,
    Prerequisite,
    Rule,
    SegmentDraft,
)

BY = Actor("user", "anna", "request-1")
PRO = Condition(attribute="plan", operator=Operator.IN, values=("pro",))
PRESS = SegmentDraft(name="press", conditions=(PRO,))
AT = datetime.fromisoformat("2027-01-01T01:00:00+01:00")
STEPS = (PlanStep(at=AT, percentage=20.0), PlanStep(at=AT + timedelta(days=1), percentage=60.0))
FORMAT = "switchyard.feature-flags/1"


def wanted(name: str, archived: bool | None = None, **given: Any) -> WantedFlag:
    return WantedFlag(name=name, changes=FlagChanges(**given), archived=archived)


MADE = (
    wanted("base", enabled=True, percentage=12.34, whitelist=("u",), metadata={"a": {"b": [1]}}),
    wanted("rising", enabled=True, percentage=5.0, rollout_plan=STEPS, starts_at=AT),
    wanted("waiting", enabled=True, rollout_plan=STEPS, archived=True),
    wanted("old", tags=("x",), archived=True),
    wanted("kept", rules=(Rule(name="r", conditions=(PRO,), percentage=50.0),), archived=True),
    wanted("builds", prerequisites=(Prerequisite(flag="base"),), stickiness="shared"),
)
CHANGED = (
    wanted("base", archived=True),
    wanted("rising", percentage=30.0),
    wanted("waiting", archived=False),
    wanted("old", tags=("y",)),
    wanted("kept", percentage=0.0),
    wanted("builds", prerequisites=(), description="Alone"),
)
NAMES = [item.name for item in MADE]


def rows(session: Session) -> list[dict[str, Any]]:
    """Return all columns of all flags but their numbers, by name."""
    session.expire_all()
    columns = [item.key for item in FeatureFlag.__mapper__.column_attrs if item.key != "id"]
    return [{name: getattr(flag, name) for name in columns} for flag in all_flags(session)]


def entries(session: Session) -> dict[str, list[Any]]:
    """Return what the audit tells of each flag."""
    return {
        name: [
            (entry.action, entry.actor, entry.reason, entry.at, entry.request_id, entry.changes)
            for entry in history(session, "flag", name)
        ]
        for name in NAMES
    }


def test_an_import_leaves_what_the_service_leaves_one_by_one(
    session: Session, now: datetime
) -> None:
    first: Any = {"by": BY, "now": now, "reason": "made"}
    then: Any = {"by": BY, "now": now + timedelta(hours=1), "reason": "changed"}
    for item in MADE:
        create_flag(session, FlagDraft(name=item.name, **item.changes.given()), **first)
        if item.archived:
            archive_flag(session, item.name, **first)
    made = rows(session), entries(session)
    change_flag(session, "rising", CHANGED[1].changes, **then)
    restore_flag(session, "waiting", **then)
    restore_flag(session, "old", **then)
    change_flag(session, "old", CHANGED[3].changes, **then)
    archive_flag(session, "old", **then)
    change_flag(session, "builds", CHANGED[5].changes, **then)
    archive_flag(session, "base", **then)
    changed = rows(session), entries(session)
    session.rollback()

    done = import_all(session, Wanted(flags=MADE[::-1]), **first)
    assert {item.outcome for item in done.flags.values()} == {ImportOutcome.CREATED}
    assert (rows(session), entries(session)) == made
    done = import_all(session, Wanted(flags=CHANGED), **then)
    assert done.flags["kept"].outcome == ImportOutcome.UNCHANGED
    assert set(done.flags["rising"].changes) == {"percentage"}
    assert (rows(session), entries(session)) == changed


def test_whoever_has_read_a_flag_in_the_session_reads_it_anew(
    session: Session, now: datetime
) -> None:
    trace: Any = {"by": BY, "now": now, "reason": "r"}
    stands = create_flag(session, FlagDraft(name="base"), **trace)
    import_all(session, Wanted(flags=MADE[:1]), **trace)
    assert get_flag(session, "base") is stands
    assert (stands.version, stands.percentage) == (2, 12.34)


MANY = 1_000


def test_a_large_import_is_as_many_statements_as_a_small_one(app: Flask, now: datetime) -> None:
    """Every tenth builds on another, so that each of those is held against what stands."""
    trace: Any = {"by": BY, "now": now, "reason": "r"}
    costs: dict[int, list[int]] = {}
    for size in (1, 20, MANY):
        names = [f"flag{size}-{number}" for number in range(size)]
        made = [
            wanted(name, prerequisites=(Prerequisite(flag=names[at - 1]),) if at % 10 == 1 else ())
            for at, name in enumerate(names)
        ]
        documents = (
            made,
            [wanted(name, percentage=50.0) for name in names],
            [wanted(name, archived=True) for name in names],
            [wanted(name, archived=False) for name in names],
            [wanted(name, percentage=50.0) for name in names],
        )
        costs[size] = []
        for document in documents:
            with statements(app) as sent, app.app_context(), transaction() as session:
                done = import_all(session, Wanted(flags=document), **trace)
            assert len({item.outcome for item in done.flags.values()}) == 1
            costs[size].append(len(sent))
    assert costs[20] == costs[MANY]
    assert max(costs[MANY]) < 30  # and not one for each of a thousand
    with app.app_context(), reading() as session:
        versions = set(session.scalars(select(FeatureFlag.version)))
        assert versions == {4}
        happened = Counter(session.scalars(select(AuditEntry.action)))
        turns = ("flag.created", "flag.updated", "flag.archived", "flag.restored")
        assert happened == dict.fromkeys(turns, 1 + 20 + MANY)
    with app.app_context(), reading() as session:
        assert verify(session).breach is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
@pytest.mark.parametrize(
    ("query", "flag", "status"),
    [
        ("&dry_run=true", {"name": "fresh"}, 200),
        ("", {"name": "fresh", "percentage": 101}, 422),
        ("", {"name": "stands"}, 200),
    ],
)
def test_what_writes_nothing_waits_for_nobody_who_writes(
    send: Send, app: Flask, query: str, flag: dict[str, Any], status: int
) -> None:
    made = {"format": FORMAT, "flags": [{"name": "stands"}]}
    assert send("POST", "/import?reason=r", json=made).status_code == 200
    with app.app_context(), transaction():
        answer = send("POST", f"/import?reason=r{query}", json=made | {"flags": [flag]})
    assert answer.status_code == status


Meanwhile = Callable[[Session, datetime], object]


def change(session: Session, now: datetime) -> None:
    changes = FlagChanges(tags=("theirs",), percentage=50.0)
    change_flag(session, "stands", changes, by=BY, now=now, reason="theirs")


def take_segment(session: Session, now: datetime) -> None:
    remove_segment(session, "press", Trace(BY, now, "theirs"))


@pytest.fixture
def overtaken(
    app: Flask, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Meanwhile], None]:
    """A flag, a segment, and somebody who is quicker than whoever imports next."""
    with app.app_context(), transaction() as session:
        create_flag(session, FlagDraft(name="stands"), by=BY, now=now, reason="r")
        create_segment(session, PRESS, Trace(BY, now, "r"))

    def overtake(meanwhile: Meanwhile) -> None:
        def wait_for_lock(waiting: Any) -> None:
            with transaction() as session:
                meanwhile(session, now)
            write_from_here(waiting)

        monkeypatch.setattr(transfer, "write_from_here", wait_for_lock)

    return overtake


def test_what_changed_since_flags_were_read_is_taken_into_account(
    send: Send, overtaken: Callable[[Meanwhile], None]
) -> None:
    overtaken(change)
    document = {"format": FORMAT, "flags": [{"name": "stands", "percentage": 50, "enabled": True}]}
    answer = send("POST", "/import?reason=mine", json=document)
    assert answer.get_json()["flags"]["stands"]["changes"] == {
        "enabled": {"old": False, "new": True}
    }
    flag = send("GET", "/stands").get_json()
    assert (flag["version"], flag["tags"], flag["enabled"]) == (3, ["theirs"], True)
    assert [entry["reason"] for entry in send("GET", "/stands/audit").get_json()["items"]] == [
        *("mine", "theirs", "r"),
    ]


def test_what_can_no_longer_be_is_refused_and_nothing_imported(
    send: Send, overtaken: Callable[[Meanwhile], None]
) -> None:
    overtaken(take_segment)
    rules = [{"name": "r", "segments": ["press"], "percentage": 5}]
    document = {"format": FORMAT, "flags": [{"name": "stands", "rules": rules}, {"name": "fresh"}]}
    answer = send("POST", "/import?reason=mine", json=document)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["stands"])
    assert send("GET", "/fresh").status_code == 404
    assert send("GET", "/stands").get_json()["version"] == 1


def test_an_import_with_a_key_is_done_once(send: Send) -> None:
    document = {"format": FORMAT, "flags": [{"name": "fresh"}]}
    for replayed in (None, "true"):
        answer = send("POST", "/import?reason=r", json=document, key="import-1")
        assert answer.get_json()["counts"]["created"] == 1
        assert answer.headers.get("Idempotency-Replayed") == replayed
    assert send("GET", "/fresh").get_json()["version"] == 1


FLAGS = ("a", "b", "c", "d")


def building(name: str, flags: Sequence[str] = ()) -> WantedFlag:
    return wanted(name, prerequisites=tuple(Prerequisite(flag=flag) for flag in flags))


GRAPHS = st.lists(
    st.builds(
        building,
        name=st.sampled_from(FLAGS),
        flags=st.lists(st.sampled_from(FLAGS), max_size=2, unique=True),
    ),
    max_size=4,
    unique_by=lambda item: item.name,
)


class AllAround(FlagPlan):
    """A plan that holds each flag against all others."""

    def _around(self, draft: FlagDraft) -> dict[str, Sequence[str]]:
        del draft
        return dict(self._needs)


# One that would ask too many by what it builds on, and is not changed itself.
@example(first=[building("a", "b"), *map(building, "bcd")], second=[building("b", "cd")])
@given(first=GRAPHS, second=GRAPHS)
def test_what_has_nothing_to_do_with_a_flag_need_not_be_looked_at(
    first: list[WantedFlag], second: list[WantedFlag]
) -> None:
    """Circles, what there is not, and what would ask too many flags are found all the same."""
    trace = Trace(BY, AT, "r")
    nothing = Found(flags={}, needs={}, in_use=(), segments=(), groups=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "MAX_DECIDED", 3)
        made = FlagPlan(nothing, first, trace)
        stand = Found(
            flags={},
            needs=dict(made._needs),
            in_use=set(made._needs),
            segments=(),
            groups=(),
        )
        plan, whole = (kind(stand, second, trace).results for kind in (FlagPlan, AllAround))
    assert refusals(plan) == refusals(whole)


def refusals(results: Results) -> dict[str, list[str]]:
    return {name: sorted(item.errors) for name, item in results.items() if item.errors}

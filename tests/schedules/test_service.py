"""What people write of schedules: checked, versioned, and told to the audit."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from tests.schedules.conftest import NIGHTLY, MakeSchedule
from webapp.actors import Actor
from webapp.audit.service import history
from webapp.errors import Conflict, Invalid, NotFound
from webapp.schedules import service
from webapp.schedules.models import Schedule

ANNA = Actor("user", "anna")


def told(session: Session, name: str = "nightly") -> list[tuple[str, str]]:
    return [(entry.action, entry.reason) for entry in history(session, "schedule", name)]


def test_a_schedule_waits_for_its_next_due_time(make: MakeSchedule, now: datetime) -> None:
    schedule = make(timezone="Europe/Berlin")
    assert schedule.enabled
    assert schedule.next_run_at == now.replace(day=23, hour=5)
    assert (schedule.version, schedule.created_by) == (1, "command line")


def test_making_one_is_audited_with_its_reason(make: MakeSchedule, session: Session) -> None:
    make()
    (entry,) = history(session, "schedule", "nightly")
    assert (entry.action, entry.reason) == ("schedule.created", "Needed")
    assert {"cron", "type", "timezone", "arguments"} <= {item.field for item in entry.changes}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": "Not A Name"}, "name", "small letters"),
        ({"name": "preview"}, "name", "not just"),
        ({"name": ""}, "name", "small letters"),
        ({"name": "a" * 65}, "name", "64"),
        ({"type": "nothing"}, "type", "no job type"),
        ({"arguments": {"value": "x"}}, "arguments", "value: "),
        ({"arguments": {"unheard": 1}}, "arguments", "unheard: "),
        ({"cron": "61 * * * *"}, "cron", "minute"),
        ({"cron": "0 0 */20 * 1L"}, "cron", "never"),
        ({"timezone": "Mars/Base"}, "timezone", "time zone"),
        ({"overlap": "both"}, "overlap", "skip, queue"),
        ({"catch_up": "all"}, "catch_up", "none, one"),
        ({"priority": 101}, "priority", "0 to 100"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_field(
    make: MakeSchedule, fields: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Invalid) as refused:
        make(**fields)
    assert list(refused.value.errors) == [field]
    assert words in refused.value.errors[field][0]


def test_all_that_is_wrong_is_told_at_once(session: Session, now: datetime) -> None:
    bad = replace(NIGHTLY, name="X", cron="x", timezone="x", type="x")
    with pytest.raises(Invalid) as refused:
        service.create_schedule(session, bad, by=ANNA, now=now, reason=" ")
    assert set(refused.value.errors) == {"name", "cron", "timezone", "type", "reason"}


def test_a_name_is_taken_once(make: MakeSchedule) -> None:
    make()
    with pytest.raises(Conflict):
        make()


def test_a_change_is_one_version_and_one_entry(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make()
    draft = replace(NIGHTLY, cron="0 7 * * *", priority=10)
    later = now + timedelta(hours=1)
    changed = service.change_schedule(session, draft, by=ANNA, now=later, reason="Later", version=1)
    assert (changed.version, changed.cron, changed.priority) == (2, "0 7 * * *", 10)
    assert (changed.updated_by, changed.updated_at) == ("anna", later)
    assert changed.next_run_at == now.replace(day=23, hour=7)
    (entry, _) = history(session, "schedule", "nightly")
    assert {item.field: (item.old, item.new) for item in entry.changes} == {
        "cron": ("0 6 * * *", "0 7 * * *"),
        "priority": (None, 10),
    }


def test_the_same_again_changes_nothing(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make()
    same = service.change_schedule(session, NIGHTLY, by=ANNA, now=now, reason="Again")
    assert same.version == 1
    assert told(session) == [("schedule.created", "Needed")]


def test_a_change_from_an_older_version_is_refused(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make()
    first, second = (replace(NIGHTLY, cron=f"0 {hour} * * *") for hour in (7, 8))
    service.change_schedule(session, first, by=ANNA, now=now, reason="First", version=1)
    with pytest.raises(Conflict):
        service.change_schedule(session, second, by=ANNA, now=now, reason="Second", version=1)
    assert service.find_schedule(session, "nightly").cron == "0 7 * * *"


def test_whoever_is_overtaken_between_reading_and_writing_changes_nothing(
    make: MakeSchedule, session: Session, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    real = service.checked

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        session.execute(
            update(Schedule).values(version=2).execution_options(synchronize_session=False)
        )
        return real(*args, **kwargs)

    monkeypatch.setattr(service, "checked", overtaken)
    with pytest.raises(Conflict):
        service.change_schedule(
            session, replace(NIGHTLY, priority=1), by=ANNA, now=now, reason="Late"
        )


def test_a_due_time_that_waits_outlives_a_change_of_other_fields(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    due_at = make().next_run_at
    draft = replace(NIGHTLY, priority=1)
    changed = service.change_schedule(
        session, draft, by=ANNA, now=now + timedelta(days=3), reason="Urgent"
    )
    assert changed.next_run_at == due_at


def test_a_paused_schedule_waits_for_nothing_until_it_is_resumed(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make()
    paused = service.pause_schedule(session, "nightly", by=ANNA, now=now, reason="Calm")
    assert (paused.enabled, paused.next_run_at, paused.version) == (False, None, 2)
    changed = service.change_schedule(
        session, replace(NIGHTLY, cron="0 7 * * *"), by=ANNA, now=now, reason="Later"
    )
    assert changed.next_run_at is None
    later = now + timedelta(days=30)
    resumed = service.resume_schedule(session, "nightly", by=ANNA, now=later, reason="Go on")
    # What passed meanwhile was not meant to run.
    assert resumed.next_run_at == (later + timedelta(days=1)).replace(hour=7)
    assert [action for action, _ in told(session)] == [
        "schedule.resumed",
        "schedule.updated",
        "schedule.paused",
        "schedule.created",
    ]


def test_pausing_twice_leaves_one_trace(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make()
    for _ in range(2):
        service.pause_schedule(session, "nightly", by=ANNA, now=now, reason="Calm")
    assert len(told(session)) == 2


@pytest.mark.parametrize(
    "verb", [service.pause_schedule, service.resume_schedule, service.remove_schedule]
)
def test_what_is_done_to_a_schedule_needs_a_reason_and_the_present_version(
    make: MakeSchedule, session: Session, now: datetime, verb: Any
) -> None:
    make()
    with pytest.raises(Invalid):
        verb(session, "nightly", by=ANNA, now=now, reason=" ")
    with pytest.raises(Invalid):
        verb(session, "nightly", by=ANNA, now=now, reason="x" * 501)
    with pytest.raises(Conflict):
        verb(session, "nightly", by=ANNA, now=now, reason="Needed", version=9)
    with pytest.raises(NotFound):
        verb(session, "nothing", by=ANNA, now=now, reason="Needed")


def test_a_removed_schedule_leaves_its_last_state_to_the_audit(
    make: MakeSchedule, session: Session, now: datetime
) -> None:
    make()
    service.remove_schedule(session, "nightly", by=ANNA, now=now, reason="Done with")
    with pytest.raises(NotFound):
        service.find_schedule(session, "nightly")
    entry = history(session, "schedule", "nightly")[0]
    assert (entry.action, entry.reason) == ("schedule.removed", "Done with")
    assert {item.field: item.old for item in entry.changes}["cron"] == "0 6 * * *"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "gone"}, "no job type"),
        ({"arguments": {"value": []}}, "value"),
        ({"timezone": "Mars/Base"}, "time zone"),
        ({"cron": "x"}, "Five fields"),
    ],
)
def test_what_no_longer_fits_is_told(fields: dict[str, Any], words: str) -> None:
    assert service.problem_of(NIGHTLY) is None
    assert words in str(service.problem_of(replace(NIGHTLY, **fields)))

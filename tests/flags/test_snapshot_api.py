"""All flags in one document, and usage reported back, for processes that evaluate elsewhere."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.conftest import ConsoleClient
from tests.flags.conftest import URL, Send
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.flags.batches import Span, UsageBatch, UsageKey, batch_as_document
from webapp.flags.bucketing import HASHES
from webapp.flags.documents import flag_set_as_document, flag_set_from
from webapp.flags.models import (
    FeatureFlagEvaluation,
    FeatureFlagSubjects,
    FeatureFlagUse,
    UnknownFlag,
)
from webapp.flags.reports import LATE, MOST_ENTRIES, MOST_UNKNOWN
from webapp.flags.sampling import SIZE, packed, unpacked
from webapp.flags.service import archive_flag, create_flag
from webapp.flags.shared import Trace, create_segment
from webapp.flags.snapshot_api import MOST_BYTES
from webapp.flags.values import (
    Condition,
    FlagDraft,
    Operator,
    Prerequisite,
    Rule,
    SegmentDraft,
    Variant,
)
from webapp.roles import Role

PRO: Final = Condition(attribute="plan", operator=Operator.IN, values=("pro", "team"))
BETA: Final = FlagDraft(
    name="beta",
    enabled=True,
    percentage=12.34,
    whitelist=("vera",),
    blacklist=("bob", "Zoë"),
    environments=("production", "staging"),
    environment_overrides={"staging": True, "demo": 12.5, "test": False},
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
    expires_at=datetime(2036, 1, 1, 12, 30, 15, 250, tzinfo=UTC),
    rules=(Rule(name="pro", conditions=(PRO,), segments=("teams",), percentage=75.5),),
    variants=(Variant(name="blue", weight=2, value={"hex": ["#00f"]}), Variant(name="r", weight=1)),
    prerequisites=(Prerequisite(flag="alpha", enabled=True),),
    stickiness="account",
    tags=("ui",),
)


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """One with something of everything, one that it needs, one that is archived."""
    with app.app_context(), transaction() as session:
        trace = Trace(by=COMMAND, now=now, reason="r")
        create_segment(session, SegmentDraft(name="teams", conditions=(PRO,)), trace)
        for draft in (FlagDraft(name="alpha", enabled=True), BETA, FlagDraft(name="old")):
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
        archive_flag(session, "old", by=COMMAND, now=now, reason="r")


def test_the_document_is_all_that_decides(app: Flask, send: Send) -> None:
    answer = send("GET", "/snapshot", Role.VIEWER)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-cache, private"
    read = flag_set_from(orjson.loads(answer.data))
    assert read == app.extensions["flag_store"].current().found
    assert list(read.flags) == ["alpha", "beta"]
    assert list(read.segments) == ["teams"]
    # Who has it from Redis writes what they have who read the database.
    assert orjson.dumps(flag_set_as_document(read)) == answer.data


def test_who_has_it_already_is_told_so_without_it(send: Send) -> None:
    tag = send("GET", "/snapshot", Role.VIEWER).headers["ETag"]
    for shown in (tag, f"W/{tag}", f'"other", {tag}'):
        client = snapshot_with(send, shown)
        assert (client.status_code, client.data) == (304, b"")
        assert client.headers["ETag"] == tag
    assert snapshot_with(send, '"other"').status_code == 200


def snapshot_with(send: Send, tag: str) -> Any:
    return send("GET", "/snapshot", environ_overrides={"HTTP_IF_NONE_MATCH": tag})


def test_a_change_is_another_document(send: Send) -> None:
    before = send("GET", "/snapshot")
    send("PUT", "/beta", json={"percentage": 50, "reason": "r"})
    after = snapshot_with(send, before.headers["ETag"])
    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]
    assert orjson.loads(after.data)["revision"] > orjson.loads(before.data)["revision"]
    assert flag_set_from(orjson.loads(after.data)).flags["beta"].percentage == 50


def test_every_process_writes_the_same_document(app: Flask, send: Send) -> None:
    # A row that was changed lies elsewhere than where it was made.
    send("PUT", "/alpha", json={"percentage": 50, "reason": "r"})
    before = send("GET", "/snapshot")
    assert list(flag_set_from(orjson.loads(before.data)).flags) == ["alpha", "beta"]
    app.extensions["flag_store"].stop()
    assert send("GET", "/snapshot").headers["ETag"] == before.headers["ETag"]


def test_before_anything_was_read_there_is_no_document(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = app.extensions["flag_store"]
    store.stop()
    # Neither a request nor the watcher that it starts.
    monkeypatch.setattr(type(store), "_look", lambda self, **options: False)
    answer = send("GET", "/snapshot", Role.VIEWER)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    monkeypatch.undo()
    assert store.refresh()
    assert send("GET", "/snapshot", Role.VIEWER).status_code == 200


def test_a_stranger_gets_nothing_and_reports_nothing(app: Flask) -> None:
    client = FlaskClient(app, use_cookies=False)
    assert client.get(f"{URL}/snapshot").status_code == 401
    assert client.post(f"{URL}/usage", json={}).status_code == 401


def test_a_person_who_reports_shows_the_token_of_the_form(viewer: ConsoleClient) -> None:
    assert viewer.get(f"{URL}/snapshot").status_code == 200
    assert viewer.post(f"{URL}/usage", json={}).status_code == 204
    viewer.csrf = False
    assert viewer.post(f"{URL}/usage", json={}).status_code == 400


def batch(flag: str, hour: datetime, count: int = 3, sample: Sequence[int] = (1, 2)) -> UsageBatch:
    """What a process would tell that was asked for one flag."""
    key = UsageKey(flag, hour, "production", "blue", True, "percentage")
    span = Span(hour, hour + timedelta(minutes=5))
    return UsageBatch({key: count}, {flag: span}, {"betta": (2, span)}, {(flag, hour): sample})


def present_hour() -> datetime:
    return clock_now().replace(minute=0, second=0, microsecond=0)


def report(send: Send, told: UsageBatch, role: Role = Role.VIEWER) -> Any:
    body = orjson.dumps(batch_as_document(told))
    return send("POST", "/usage", role, data=body, content_type="application/json")


def stored(app: Flask) -> list[tuple[str, str, str, bool, str, int]]:
    with app.app_context(), reading() as session:
        rows = session.scalars(select(FeatureFlagEvaluation).order_by(FeatureFlagEvaluation.flag))
        return [
            (row.flag, row.environment, row.variant, row.enabled, row.reason, row.count)
            for row in rows
        ]


@pytest.mark.parametrize("role", list(Role))
def test_what_is_reported_joins_the_figures(app: Flask, send: Send, role: Role) -> None:
    hour = present_hour()
    for sample in ((1, 5), (2, 5)):
        answer = report(send, batch("beta", hour, sample=sample), role)
        assert (answer.status_code, answer.data) == (204, b"")
    figures = send("GET", "/metrics/beta", Role.VIEWER).get_json()
    assert (figures["on"], figures["off"]) == (6, 0)
    assert figures["counts"][0]["variant"] == "blue"
    assert datetime.fromisoformat(figures["last_evaluated_at"]) <= clock_now()
    with app.app_context(), reading() as session:
        joined = session.scalars(select(FeatureFlagSubjects.sample)).one()
        unknown = session.execute(select(UnknownFlag.name, UnknownFlag.count)).all()
    assert unpacked(joined) == [1, 2, 5]
    assert [tuple(row) for row in unknown] == [("betta", 4)]


def test_flags_that_there_are_not_are_left_out(app: Flask, send: Send) -> None:
    for flag in ("none", "old"):
        assert report(send, batch(flag, present_hour())).status_code == 204
    assert stored(app) == []
    with app.app_context(), reading() as session:
        assert session.scalars(select(FeatureFlagUse)).all() == []
        assert session.scalars(select(FeatureFlagSubjects)).all() == []


def test_before_anything_was_read_nothing_is_taken(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every flag would be one that there is not, and its figures were lost."""
    store = app.extensions["flag_store"]
    store.stop()
    # Not ``refresh`` alone: the store's own thread looks too, and may be first.
    monkeypatch.setattr(type(store), "_look", lambda self, **how: False)
    assert report(send, batch("beta", present_hour())).status_code == 503
    monkeypatch.undo()
    assert store.refresh()
    assert report(send, batch("beta", present_hour())).status_code == 204
    assert stored(app) == [("beta", "production", "blue", True, "percentage", 3)]


def test_an_hour_is_the_hour_and_rows_that_become_one_are_summed(app: Flask, send: Send) -> None:
    hour = present_hour()
    counts = [
        count_row(hour=(hour - timedelta(minutes=minute)).isoformat(), count=minute)
        for minute in (10, 20)
    ]
    assert send("POST", "/usage", json={"counts": counts}).status_code == 204
    assert stored(app) == [("beta", "production", "", True, "everyone", 30)]


@pytest.mark.parametrize(
    ("late", "kept"),
    [
        (timedelta(), True),
        (timedelta(days=30), True),
        (timedelta(days=32), False),
        (timedelta(hours=-1), True),
        (timedelta(hours=-3), False),
    ],
)
def test_hours_that_nobody_can_tell_of_are_left_out(
    app: Flask, send: Send, late: timedelta, kept: bool
) -> None:
    assert report(send, batch("beta", present_hour() - late)).status_code == 204
    assert bool(stored(app)) is kept
    with app.app_context(), reading() as session:
        assert bool(session.scalars(select(FeatureFlagSubjects)).all()) is kept


@pytest.mark.parametrize(
    ("first", "last"),
    [("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"), ("9999-12-31T23:59:59Z",) * 2],
)
def test_no_flag_was_asked_for_in_the_future_or_before_anybody_counted(
    app: Flask, send: Send, first: str, last: str
) -> None:
    times = {"first": first, "last": last}
    hours = [subject_row(hour=when) for when in (first, last)]
    body = {"uses": [use_row(**times)], "unknown": [unknown_row(**times)], "subjects": hours}
    assert send("POST", "/usage", json=body).status_code == 204
    with app.app_context(), reading() as session:
        use = session.scalars(select(FeatureFlagUse)).one()
        asked = session.scalars(select(UnknownFlag)).one()
    longest_ago = clock_now() - LATE - timedelta(minutes=1)
    assert longest_ago <= use.first_evaluated_at <= use.last_evaluated_at <= clock_now()
    assert longest_ago <= asked.first_asked_at <= asked.last_asked_at <= clock_now()


def count_row(**changed: object) -> dict[str, object]:
    return {
        "flag": "beta",
        "hour": "2026-11-22T12:00:00Z",
        "environment": "production",
        "variant": "",
        "enabled": True,
        "reason": "everyone",
        "count": 1,
    } | changed


def use_row(**changed: object) -> dict[str, object]:
    moment = "2026-11-22T12:00:00Z"
    return {"flag": "beta", "first": moment, "last": moment} | changed


def unknown_row(**changed: object) -> dict[str, object]:
    moment = "2026-11-22T12:00:00Z"
    return {"name": "betta", "count": 1, "first": moment, "last": moment} | changed


def subject_row(**changed: object) -> dict[str, object]:
    return {"flag": "beta", "hour": "2026-11-22T12:00:00Z", "sample": [1]} | changed


REFUSED: Final[dict[str, tuple[dict[str, object], str]]] = {
    "count of none": ({"counts": [count_row(count=0)]}, "counts.0.count"),
    "count below none": ({"counts": [count_row(count=-1)]}, "counts.0.count"),
    "count of too many": ({"counts": [count_row(count=2**53 + 1)]}, "counts.0.count"),
    "count as text": ({"counts": [count_row(), count_row(count="3")]}, "counts.1.count"),
    "count in parts": ({"counts": [count_row(count=1.5)]}, "counts.0.count"),
    "answer as text": ({"counts": [count_row(enabled="yes")]}, "counts.0.enabled"),
    "no name": ({"counts": [count_row(flag="")]}, "counts.0.flag"),
    "long name": ({"counts": [count_row(flag="x" * 256)]}, "counts.0.flag"),
    "NUL in a name": ({"counts": [count_row(flag="a\0b")]}, "counts.0.flag"),
    "no environment": ({"counts": [count_row(environment="")]}, "counts.0.environment"),
    "long environment": ({"counts": [count_row(environment="x" * 65)]}, "counts.0.environment"),
    "NUL in an environment": ({"counts": [count_row(environment="\0")]}, "counts.0.environment"),
    "long variant": ({"counts": [count_row(variant="x" * 65)]}, "counts.0.variant"),
    "no reason": ({"counts": [count_row(reason="")]}, "counts.0.reason"),
    "long reason": ({"counts": [count_row(reason="x" * 33)]}, "counts.0.reason"),
    "hour of no zone": ({"counts": [count_row(hour="2026-11-22T12:00:00")]}, "counts.0.hour"),
    "hour beyond UTC": (
        {"counts": [count_row(hour="0001-01-01T00:00:00+14:00")]},
        "counts.0.hour",
    ),
    "more of a row": ({"counts": [count_row(colour="red")]}, "counts.0.colour"),
    "too many rows": ({"counts": [count_row()] * (MOST_ENTRIES + 1)}, "counts"),
    "use of no time": ({"uses": [use_row(last=None)]}, "uses.0.last"),
    "too many uses": ({"uses": [use_row()] * (MOST_ENTRIES + 1)}, "uses"),
    "unknown without a name": ({"unknown": [unknown_row(name="")]}, "unknown.0.name"),
    "NUL in an unknown name": ({"unknown": [unknown_row(name="\0")]}, "unknown.0.name"),
    "too many unknown": ({"unknown": [unknown_row()] * (MOST_UNKNOWN + 1)}, "unknown"),
    "hash too large": ({"subjects": [subject_row(sample=[HASHES])]}, "subjects.0.sample.0"),
    "hash below none": ({"subjects": [subject_row(sample=[-1])]}, "subjects.0.sample.0"),
    "sample too large": ({"subjects": [subject_row(sample=[1] * (SIZE + 1))]}, "subjects.0.sample"),
    "something else": ({"flags": []}, "flags"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_no_process_can_have_counted_is_refused_with_the_field_named(
    app: Flask, send: Send, case: tuple[dict[str, object], str]
) -> None:
    body, field = case
    answer = send("POST", "/usage", Role.VIEWER, json=body)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert field in answer.get_json()["errors"]
    assert stored(app) == []


@pytest.mark.parametrize(
    ("size", "status"), [(2 * 1024 * 1024, 204), (MOST_BYTES, 204), (MOST_BYTES + 1, 413)]
)
def test_a_report_may_be_larger_than_other_bodies(send: Send, size: int, status: int) -> None:
    body = b'{"counts": []}'.ljust(size)
    answer = send("POST", "/usage", data=body, content_type="application/json")
    assert answer.status_code == status


def test_a_sample_is_kept_as_it_was_told(app: Flask, send: Send) -> None:
    sample = sorted({HASHES - 1, 0, *range(7, 7 + SIZE - 2)})
    assert report(send, batch("beta", present_hour(), sample=sample)).status_code == 204
    with app.app_context(), reading() as session:
        assert session.scalars(select(FeatureFlagSubjects.sample)).one() == packed(sample)

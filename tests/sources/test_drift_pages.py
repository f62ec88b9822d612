"""Drift on the pages of sources and over JSON, by role, and whatever somebody sends."""

from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, form_body
from webapp.actors import COMMAND
from webapp.db import reading, transaction
from webapp.jobs.models import Job
from webapp.sources.ingestion import begin_run, finish_run, ingest_batch
from webapp.sources.models import SchemaDrift, Source
from webapp.sources.service import create_source
from webapp.sources.values import Batch, Checkpoint, Row

URL = "/api/v1/sources/fruit/drift"


@pytest.fixture(autouse=True)
def drift_id(app: Flask, now: datetime) -> int:
    """A source whose second run has a sure rename, and one that waits for a decision."""
    with app.app_context(), transaction() as session:
        source = create_source(
            session, "fruit", location="/f.csv", key_field="k", by=COMMAND, now=now
        )
        for columns in (("k", "qty", "email"), ("k", "quantity", "email_address", "<b>fresh")):
            job = Job(
                type="etl",
                queue="default",
                priority=50,
                state="succeeded",
                arguments={},
                run_at=now,
                created_at=now,
                created_by="test",
            )
            session.add(job)
            session.flush()
            place = Checkpoint(size=1, definition=source.version)
            run = begin_run(session, source, job_id=job.id, at=place, now=now)
            values = {name: f"{name[0]} {len(columns)}" for name in columns}
            batch = Batch(columns, [Row(1, values, "")], [], place, last=True)
            ingest_batch(session, run.id, batch, now=now)
            finish_run(session, run.id, now=now)
        return session.scalars(select(SchemaDrift.id).where(SchemaDrift.state == "held")).one()


def state_of(app: Flask, drift_id: int) -> str:
    with app.app_context(), reading() as session:
        return session.get_one(SchemaDrift, drift_id).state


def renames(app: Flask) -> dict[str, str]:
    with app.app_context(), reading() as session:
        return session.scalars(select(Source)).one().renames


def test_a_source_shows_its_fields_and_what_changed(viewer: ConsoleClient) -> None:
    page = viewer.get("/sources/fruit").text
    assert "To decide" in page
    assert "1 added, 2 renamed" in page
    assert "&lt;b&gt;fresh" in page
    assert "<b>fresh" not in page
    assert page.index("email_address") < page.index("quantity")


def test_what_waits_is_marked_on_the_list_until_it_is_decided(
    viewer: ConsoleClient, operator: ConsoleClient, drift_id: int
) -> None:
    assert "1 to decide" in viewer.get("/sources").text
    operator.post(f"/sources/fruit/drift/{drift_id}/accept", data={"reason": "Yes"})
    assert "to decide" not in viewer.get("/sources").text


def test_only_who_may_decide_is_offered_to(
    viewer: ConsoleClient, drift_id: int, app: Flask
) -> None:
    assert f"/drift/{drift_id}/accept" not in viewer.get("/sources/fruit").text
    for verb in ("accept", "reject"):
        answer = viewer.post(f"/sources/fruit/drift/{drift_id}/{verb}", data={"reason": "Yes"})
        assert answer.status_code == 403
        assert viewer.post(f"{URL}/{drift_id}/{verb}", json={"reason": "x"}).status_code == 403
    assert state_of(app, drift_id) == "held"


@pytest.mark.parametrize(
    ("verb", "state", "left"),
    [
        ("accept", "accepted", {"qty": "quantity", "email": "email_address"}),
        ("reject", "rejected", {"qty": "quantity"}),
    ],
)
def test_an_operator_decides_with_a_reason(
    operator: ConsoleClient,
    app: Flask,
    drift_id: int,
    verb: str,
    state: str,
    left: dict[str, str],
) -> None:
    url = f"/sources/fruit/drift/{drift_id}/{verb}"
    asked = operator.post(url)
    assert asked.status_code == 422
    assert "of fruit?" in asked.text
    assert state_of(app, drift_id) == "held"
    done = operator.post(url, data={"reason": "The <b>supplier</b>"}, follow_redirects=True)
    assert f"The rename is {state}." in done.text
    assert "The &lt;b&gt;supplier" in done.text
    assert state_of(app, drift_id) == state
    assert renames(app) == left
    again = operator.post(url, data={"reason": "Again"})
    assert again.status_code == 409
    assert f"is {state} already" in again.text


def test_the_polled_part_holds_no_form(operator: Any) -> None:
    part = operator.htmx("/sources/fruit", "sources-activity")
    assert 'id="sources-drift"' in part.text
    assert "csrf_token" not in part.text
    assert "Accept email to email_address?" in part.text


def test_htmx_is_told_by_a_toast(operator: Any, app: Flask, drift_id: int) -> None:
    url = f"/sources/fruit/drift/{drift_id}/accept"
    answer = operator.htmx(url, method="POST", data={"reason": "Yes"})
    assert answer.status_code == 204
    assert "accepted" in answer.headers["HX-Trigger"]
    assert state_of(app, drift_id) == "accepted"


def test_programs_list_and_decide(operator: ConsoleClient, drift_id: int) -> None:
    found = operator.get(URL).json
    assert found is not None
    assert [(item["kind"], item["state"]) for item in found["items"]] == [
        ("added", "noted"),
        ("renamed", "held"),
        ("renamed", "applied"),
    ]
    held = operator.get(f"{URL}?state=held").json
    assert held is not None
    (item,) = held["items"]
    assert item["found_at"] == "2026-11-22T12:00:00Z"
    assert (item["id"], item["field"], item["new_field"]) == (drift_id, "email", "email_address")
    assert 0.5 < item["confidence"] < 0.8
    first = operator.get(f"{URL}?limit=2").json
    assert first is not None
    rest = operator.get(first["next"]).json
    assert rest is not None
    assert [len(page["items"]) for page in (first, rest)] == [2, 1]
    accepted = operator.post(f"{URL}/{drift_id}/accept", json={"reason": "Yes"})
    assert accepted.json is not None
    assert (accepted.status_code, accepted.json["state"]) == (200, "accepted")
    assert (accepted.json["decided_by"], accepted.json["reason"]) == ("operator", "Yes")
    assert operator.post(f"{URL}/{drift_id}/accept", json={"reason": "Yes"}).status_code == 409
    assert operator.post(f"{URL}/{drift_id}/reject", json={"reason": "No"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("{id}/accept", {}, 422, "reason"),
        ("{id}/reject", {"reason": " "}, 422, "reason"),
        ("{id}/reject", {"reason": "x" * 501}, 422, "reason"),
        ("{id}/reject", {"reason": "a\0"}, 422, "reason"),
        ("{id}/reject", {"reason": 1}, 422, "reason"),
        ("{id}/accept", {"reason": "x", "odd": 1}, 422, "odd"),
        ("999/accept", {"reason": "x"}, 404, None),
        ("99999999999999999999999/accept", {"reason": "x"}, 404, None),
    ],
)
def test_what_cannot_be_decided_is_refused(
    operator: ConsoleClient,
    drift_id: int,
    path: str,
    body: dict[str, Any],
    status: int,
    field: str | None,
) -> None:
    answer = operator.post(f"{URL}/{path.format(id=drift_id)}", json=body)
    assert answer.status_code == status
    assert answer.json is not None
    if field:
        assert field in answer.json["errors"]


def test_an_odd_state_is_refused_and_an_unknown_source_not_found(viewer: ConsoleClient) -> None:
    assert viewer.get(f"{URL}?state=odd").status_code == 422
    assert viewer.get("/api/v1/sources/nothing/drift").status_code == 404


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_whatever_a_reason_holds_is_answered(
    operator: ConsoleClient, drift_id: int, odd: bytes
) -> None:
    for verb in ("accept", "reject"):
        url = f"/sources/fruit/drift/{drift_id}/{verb}"
        assert operator.post(url, **form_body({"reason": odd})).status_code < 500
    assert operator.get(URL, query_string={"state": odd, "before": odd}).status_code < 500
    assert operator.get("/sources/fruit").status_code == 200

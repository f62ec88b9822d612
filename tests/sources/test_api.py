"""Sources over JSON, by role: added, changed, run, looked into and removed."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.conftest import ConsoleClient
from tests.jobs.test_api import bearer
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.db import reading, transaction
from webapp.jobs.models import Job
from webapp.roles import Role
from webapp.sources.ingestion import begin_run, finish_run, ingest_batch
from webapp.sources.models import EtlRun, Record, RejectedRecord, Source
from webapp.sources.service import create_source
from webapp.sources.values import Batch, Checkpoint, Rejection, Row

URL = "/api/v1/sources"
ORDERS: Mapping[str, Any] = {
    "name": "orders",
    "kind": "api",
    "location": "https://api.example.com/orders",
    "key_field": "id",
    "options": {"items": "data", "pagination": "page", "auth_env": "SOURCE_ORDERS"},
    "mapping": {"city": "address.city"},
}
Ask = Callable[..., Any]


@pytest.fixture
def ask(app: Flask, client: ConsoleClient) -> Ask:
    client.csrf = False

    def _ask(method: str, path: str = "", role: Role = Role.ADMIN, **options: Any) -> Any:
        return client.open(URL + path, method=method, headers=bearer(app, role), **options)

    return _ask


@pytest.fixture
def read_once(app: Flask, now: datetime) -> None:
    """A source with thirty records and twelve rejected rows of one run."""
    with app.app_context(), transaction() as session:
        source = create_source(
            session, "orders", location="/srv/a.csv", key_field="k", by=COMMAND, now=now
        )
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
        run = begin_run(session, source, job_id=job.id, at=Checkpoint(), now=now)
        rows = [Row(n, {"k": f"{n:02}", "password": "x"}, "") for n in range(30)]
        rejected = [Rejection.of(n, "no good", "text") for n in range(12)]
        batch = Batch(("k", "password"), rows, rejected, Checkpoint(9, 9, 9, 9), last=True)
        ingest_batch(session, run.id, batch, now=now)
        finish_run(session, run.id, now=now + timedelta(seconds=1), max_rejected_share=0.5)


def test_a_source_is_added_and_shown(ask: Ask) -> None:
    answer = ask("POST", json=ORDERS)
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{URL}/orders")
    shown = ask("GET", "/orders", Role.VIEWER).get_json()
    assert {name: shown[name] for name in ("name", "kind", "location", "mapping")} == {
        name: ORDERS[name] for name in ("name", "kind", "location", "mapping")
    }
    assert shown["options"]["items"] == "data"
    assert shown["options"]["max_pages"] == 10_000
    assert (shown["version"], shown["record_count"], shown["last_run"]) == (1, 0, None)
    listed = ask("GET", "?q=ord", Role.VIEWER).get_json()
    assert (listed["total"], listed["items"]) == (1, [shown])
    assert ask("GET", "?q=none").get_json() == {"total": 0, "items": []}


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"name": "Not A Name"}, {"name"}),
        ({"kind": "ftp"}, {"kind"}),
        ({"location": "ftp://example.com/a"}, {"location"}),
        ({"location": "http://localhost/a"}, {"location"}),
        ({"location": "https://ada:secret@example.com/a"}, {"location"}),
        ({"location": "https://example.com/?token=1"}, {"location"}),
        ({"location": "/srv/a.csv"}, {"location"}),
        ({"key_field": ""}, {"key_field"}),
        ({"mapping": {"": "a"}}, {"mapping"}),
        ({"options": {"auth_env": "SECRET_KEY"}}, {"auth_env"}),
        ({"options": {"auth_env": "SOURCE_A B"}}, {"auth_env"}),
        ({"options": {"auth_header": "Host"}}, {"auth_header"}),
        ({"options": {"auth_header": "X: y"}}, {"auth_header"}),
        ({"options": {"pagination": "endless"}}, {"pagination"}),
        ({"options": {"pagination": "cursor"}}, {"cursor_path"}),
        ({"options": {"items": "a..b"}}, {"items"}),
        ({"options": {"pagination": "page", "page_param": "a&b"}}, {"page_param"}),
        ({"options": {"page_size": 0}}, {"page_size"}),
        ({"options": {"max_pages": 0, "first_page": -1}}, {"max_pages"}),
        ({"options": {"surprise": 1}}, {"options.surprise"}),
        ({"name": "-", "key_field": ""}, {"name", "key_field"}),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_field(
    ask: Ask, wrong: Mapping[str, Any], fields: set[str]
) -> None:
    answer = ask("POST", json={**ORDERS, **wrong})
    assert answer.status_code == 422, answer.text
    assert fields <= answer.get_json()["errors"].keys()
    assert ask("GET").get_json()["total"] == 0


def test_a_change_is_of_the_fields_given_with_its_reason_and_version(ask: Ask, app: Flask) -> None:
    ask("POST", json=ORDERS)
    change = {"options": {"items": "rows"}, "reason": "Moved", "version": 1}
    changed = ask("PATCH", "/orders", json=change).get_json()
    assert (changed["options"]["items"], changed["options"]["pagination"]) == ("rows", "page")
    assert changed["version"] == 2
    assert ask("PATCH", "/orders", json=change).status_code == 409
    assert ask("PATCH", "/orders", json={"key_field": "x"}).status_code == 422
    same = ask("PATCH", "/orders", json={"options": {"items": "rows"}, "reason": "Again"})
    assert same.get_json()["version"] == 2
    with app.app_context(), reading() as session:
        updated, _ = history(session, "source", "orders")
    assert (updated.action, updated.reason) == ("source.updated", "Moved")
    assert [change.field for change in updated.changes] == ["options"]


def test_a_source_goes_with_all_that_it_has_read(ask: Ask, read_once: None, app: Flask) -> None:
    ask("POST", json={**ORDERS, "name": "other"})
    assert ask("DELETE", "/orders").status_code == 422
    assert ask("DELETE", "/orders?reason=Gone&version=7").status_code == 409
    assert ask("DELETE", "/orders", json={"reason": "Gone"}).status_code == 204
    assert ask("GET", "/orders").status_code == 404
    with app.app_context(), reading() as session:
        for model in (Record, RejectedRecord, EtlRun):
            assert session.scalar(select(func.count()).select_from(model)) == 0
        assert session.scalars(select(Source.name)).all() == ["other"]
        entry, _ = history(session, "source", "orders")
    assert (entry.action, entry.reason) == ("source.removed", "Gone")
    assert ask("POST", json=ORDERS).status_code == 201


def test_a_run_is_begun_once_at_a_time(ask: Ask) -> None:
    ask("POST", json=ORDERS)
    first, second = (ask("POST", "/orders/run", Role.OPERATOR) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json()["new"] is True
    assert second.get_json() == {"job_id": first.get_json()["job_id"], "new": False}
    assert first.headers["Location"] == f"/api/v1/queue/jobs/{first.get_json()['job_id']}"


def test_runs_records_and_rejected_rows_come_in_pages(ask: Ask, read_once: None) -> None:
    (run,) = ask("GET", "/orders/runs", Role.VIEWER).get_json()["items"]
    assert (run["status"], run["processed"], run["rejected"]) == ("succeeded", 42, 12)
    found, url = [], "/orders/records?limit=13"
    while url:
        page = ask("GET", url, Role.VIEWER).get_json()
        assert page["total"] == 30
        found += page["items"]
        url = page["next"] and page["next"].removeprefix(URL)
    assert [record["key"] for record in found] == [f"{n:02}" for n in range(30)]
    assert found[0]["raw"] == {"k": "00", "password": "[masked]"}
    lines, url = [], "/orders/rejected?limit=5"
    while url:
        page = ask("GET", url, Role.VIEWER).get_json()
        assert page["total"] == 12
        lines += [item["line"] for item in page["items"]]
        url = page["next"] and page["next"].removeprefix(URL)
    assert lines == list(range(12))
    assert ask("GET", f"/orders/rejected?run={run['id']}").get_json()["total"] == 12
    assert ask("GET", "/orders/rejected?run=99999").status_code == 404
    assert ask("GET", "/orders/rejected?run=x").status_code == 422


def test_viewers_look_operators_run_and_admins_change(ask: Ask) -> None:
    ask("POST", json=ORDERS)
    for role in (Role.VIEWER, Role.OPERATOR):
        assert ask("POST", "", role, json=ORDERS).status_code == 403
        assert ask("PATCH", "/orders", role, json={"reason": "x"}).status_code == 403
        assert ask("DELETE", "/orders?reason=x", role).status_code == 403
    assert ask("POST", "/orders/run", Role.VIEWER).status_code == 403

"""Dead letters for programs."""

import csv
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from tests.conftest import ConsoleClient
from tests.dead_letters.conftest import MakeLetters
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.breakers.models import CircuitBreakerState
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.dead_letters import bulk
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import Reason
from webapp.jobs.models import Job
from webapp.roles import Role

URL = "/api/v1/dlq"
GREAT = 2**100 + 1


@pytest.fixture
def headers(app: Flask) -> dict[str, str]:
    """An operator's token."""
    return bearer(app, Role.OPERATOR)


def bearer(app: Flask, role: Role) -> dict[str, str]:
    with app.app_context(), transaction() as session:
        token = create_token(session, "", role=role, by=COMMAND, now=clock_now())
    return {"Authorization": f"Bearer {token.text}"}


def listed(client: ConsoleClient, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    answer = client.get(f"{URL}{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def jobs(client: ConsoleClient, headers: dict[str, str], query: str = "") -> list[int]:
    return [item["job_id"] for item in listed(client, headers, query)["items"]]


def change_jobs(app: Flask, **values: Any) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(Job).values(**values))


def test_a_letter_is_told_in_full(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose(arguments={"value": GREAT})
    (item,) = listed(client, headers)["items"]
    assert item["arguments"] == {"value": GREAT, "seconds": 0.0}
    assert (item["job_state"], item["type"], item["reason"]) == (
        "dead",
        "test_echo",
        "not_retryable",
    )
    assert (item["resolved"], item["resolution"], item["retryable"]) == (False, None, False)
    assert item["failed_at"].endswith("Z")
    shown = client.get(f"{URL}/job/{item['job_id']}", headers=headers).get_json()
    (attempt,) = shown.pop("attempts")
    assert (attempt["number"], attempt["outcome"], attempt["message"]) == (
        1,
        "failed",
        "row 7 is broken",
    )
    assert shown.pop("traceback") == attempt["traceback"]
    assert shown == item


def test_a_list_goes_on_from_page_to_page_and_back(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose(5)
    newest = jobs(client, headers)
    assert newest == sorted(newest, reverse=True)
    first = listed(client, headers, "?limit=2")
    assert (first["total"], first["capped"], first["previous"]) == (5, False, None)
    second = client.get(first["next"], headers=headers).get_json()
    third = client.get(second["next"], headers=headers).get_json()
    told = [item["job_id"] for page in (first, second, third) for item in page["items"]]
    assert told == newest
    assert third["next"] is None
    back = client.get(third["previous"], headers=headers).get_json()
    assert back["items"] == second["items"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?type=test_fail", 1),
        ("?exception=KeyError", 1),
        ("?q=DISK", 1),
        ("?older=24h", 1),
        ("?newer=24h", 3),
        ("?older=1h&newer=24h", 0),
        ("?resolved=true", 1),
        ("?resolved=false", 4),
        ("?resolved=any", 5),
        ("?fingerprint=nothing", 0),
    ],
)
def test_filters_narrow_the_list_and_the_file_alike(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters, query: str, count: int
) -> None:
    lose(at=clock_now() - timedelta(hours=25))
    lose(type_name="test_fail")
    lose(exception="KeyError")
    lose(message="no disk")
    lose(message="closed")
    closed = jobs(client, headers)[0]
    client.post(f"{URL}/resolve/{closed}", json={"notes": "Seen to"}, headers=headers)
    found = jobs(client, headers, query)
    assert len(found) == count
    rows = exported(client, headers, query.replace("?", "&"))
    assert [int(row["job_id"]) for row in rows] == found
    file = client.get(f"{URL}/export{query}&format=json", headers=headers)
    assert [item["job_id"] for item in json.loads(file.text)] == found


def exported(client: ConsoleClient, headers: dict[str, str], query: str) -> list[dict[str, str]]:
    answer = client.get(f"{URL}/export?format=csv{query}", headers=headers)
    assert answer.content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(answer.get_data(as_text=True), newline="")))


def test_the_file_is_harmless_exact_and_holds_no_secret(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose(arguments={"value": GREAT}, message="=1+1")
    lose(type_name="etl", arguments={"source": "https://anna:hunter2@host/x"})
    secret, formula = exported(client, headers, "")
    assert formula["message"] == "'=1+1"
    assert json.loads(formula["arguments"])["value"] == GREAT
    assert "hunter2" not in str(secret)
    answer = client.get(f"{URL}/export?format=json", headers=headers)
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "hunter2" not in answer.text
    assert json.loads(answer.text)[1]["arguments"]["value"] == GREAT


@pytest.mark.parametrize(
    "query",
    [
        "?resolved=x",
        "?older=2h",
        "?newer=x",
        "?limit=0",
        "?limit=501",
        "/groups?skip=-1",
        "/groups?older=1",
        "/export?format=xml",
    ],
)
def test_a_query_that_means_nothing_is_refused(
    client: ConsoleClient, headers: dict[str, str], query: str
) -> None:
    answer = client.get(f"{URL}{query}", headers=headers)
    assert answer.status_code == 422
    assert next(iter(answer.get_json()["errors"])) in query


def test_groups_tell_how_many_how_old_and_whether_they_may_pass(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    at = clock_now()
    lose(at=at - timedelta(days=8), message="row 1 is broken", reason=Reason.ATTEMPTS_SPENT)
    lose(at=at - timedelta(hours=2), message="row 2 is broken")
    lose(2, at=at - timedelta(minutes=1), message="row 3 is broken")
    lose(at=at, message="no disk")
    body = listed(client, headers, "/groups")
    assert (body["total"], body["letters"], body["capped"]) == (2, 5, False)
    rows, disk = body["items"]
    assert (rows["count"], rows["retryable"], rows["retryable_share"]) == (4, 1, 25.0)
    assert rows["by_age"] == {"1h": 2, "3h": 1, "24h": 0, "3d": 0, "7d": 0, "older": 1}
    assert rows["sample"]["message"] == "row 3 is broken"
    assert rows["first_failed_at"] < rows["last_failed_at"]
    assert (disk["count"], disk["type"], disk["exception_type"]) == (1, "test_echo", "ValueError")
    narrowed = listed(client, headers, "/groups?newer=1h&limit=1")
    assert (narrowed["items"][0]["count"], narrowed["total"], narrowed["letters"]) == (2, 2, 3)
    assert listed(client, headers, "/groups?limit=1&skip=1")["items"] == [disk]


def test_figures_add_up(client: ConsoleClient, headers: dict[str, str], lose: MakeLetters) -> None:
    at = clock_now()
    lose(2, at=at - timedelta(hours=2), reason=Reason.WORKER_LOST)
    lose(1, at=at, type_name="test_fail")
    lose(1, at=at)
    closed = jobs(client, headers)[0]
    client.post(f"{URL}/resolve/{closed}", json={"notes": "Seen to"}, headers=headers)
    assert listed(client, headers, "/stats") == {
        "open": 3,
        "resolved": 1,
        "capped": False,
        "retryable": 2,
        "retryable_share": 66.7,
        "by_reason": {
            "attempts_spent": 0,
            "not_retryable": 1,
            "worker_lost": 2,
            "deferred_too_often": 0,
        },
        "by_type": {"test_echo": 2, "test_fail": 1},
        "by_age": {"1h": 1, "3h": 2, "24h": 0, "3d": 0, "7d": 0, "older": 0},
    }


def test_no_letters_are_figures_too(client: ConsoleClient, headers: dict[str, str]) -> None:
    figures = listed(client, headers, "/stats")
    assert (figures["open"], figures["retryable_share"], figures["by_type"]) == (0, None, {})
    assert listed(client, headers, "/groups")["items"] == []


def test_a_retry_answers_with_the_address_of_the_job(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose()
    (job_id,) = jobs(client, headers)
    body = {"arguments": {"value": GREAT}}
    answer = client.post(f"{URL}/retry/{job_id}", json=body, headers=headers)
    assert answer.status_code == 202
    assert (answer.get_json()["job_state"], answer.get_json()["retry_count"]) == ("queued", 1)
    job = client.get(answer.headers["Location"], headers=headers).get_json()
    assert (job["id"], job["arguments"]["value"]) == (job_id, GREAT)
    again = client.post(f"{URL}/retry/{job_id}", headers=headers)
    assert again.status_code == 409
    assert "is queued: it is being tried again already" in again.get_json()["detail"]


@pytest.mark.parametrize(
    ("values", "body", "status", "words"),
    [
        ({"type": "gone"}, {}, 409, "no job type 'gone' any more"),
        ({"arguments": {"odd": 1}}, {}, 409, "no longer fit test_echo"),
        ({}, {"arguments": {"value": "x"}}, 422, "value: "),
        ({}, {"arguments": {"value": "[masked]"}}, 422, "holds [masked]"),
        ({}, {"arguments": []}, 422, "object"),
        ({}, {"odd": 1}, 422, "odd"),
    ],
)
def test_a_refused_retry_says_why(
    app: Flask,
    client: ConsoleClient,
    headers: dict[str, str],
    lose: MakeLetters,
    *,
    values: dict[str, Any],
    body: dict[str, Any],
    status: int,
    words: str,
) -> None:
    lose()
    (job_id,) = jobs(client, headers)
    if values:
        change_jobs(app, **values)
    answer = client.post(f"{URL}/retry/{job_id}", json=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.get_json()["detail"]
    assert listed(client, headers)["items"][0]["retry_count"] == 0


@pytest.mark.parametrize(
    ("verb", "field", "resolution"),
    [("resolve", "notes", "resolved"), ("discard", "reason", "discarded")],
)
def test_a_letter_is_closed_in_words(
    client: ConsoleClient,
    headers: dict[str, str],
    lose: MakeLetters,
    verb: str,
    field: str,
    resolution: str,
) -> None:
    lose()
    (job_id,) = jobs(client, headers)
    url = f"{URL}/{verb}/{job_id}"
    refused = client.post(url, headers=headers)
    assert (refused.status_code, list(refused.get_json()["errors"])) == (422, [field])
    body = client.post(url, json={field: "Seen to"}, headers=headers).get_json()
    assert (body["resolved"], body["resolution"], body["notes"]) == (True, resolution, "Seen to")
    assert body["job_state"] == "dead"
    assert client.post(url, json={field: "Again"}, headers=headers).status_code == 409


@pytest.mark.parametrize("path", ["/job", "/retry", "/resolve", "/discard"])
def test_a_job_without_a_letter_is_not_found(
    client: ConsoleClient, headers: dict[str, str], path: str
) -> None:
    method = "GET" if path == "/job" else "POST"
    answer = client.open(f"{URL}{path}/999999", method=method, headers=headers)
    assert answer.status_code == 404


def act(client: ConsoleClient, headers: dict[str, str], **body: Any) -> dict[str, Any]:
    answer = client.post(f"{URL}/bulk", json=body, headers=headers)
    assert answer.status_code in {200, 202}, answer.text
    told: dict[str, Any] = answer.get_json()
    assert (answer.status_code == 202) is (told.get("job_id") is not None)
    return told


def test_a_dry_run_counts_and_changes_nothing(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose(7)
    told = act(client, headers, action="discard", filter={"type": "test_echo"}, dry_run=True)
    assert (told["dry_run"], told["count"], told["capped"]) == (True, 7, False)
    assert [item["job_id"] for item in told["sample"]] == sorted(jobs(client, headers))[:5]
    assert len(jobs(client, headers)) == 7


def test_many_are_acted_on_by_filter_or_by_name(
    client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose(3)
    lose(message="no disk")
    disk, *others = jobs(client, headers)
    told = act(client, headers, action="resolve", filter={"text": "disk"}, notes="Bigger now")
    assert told == {
        "dry_run": False,
        "count": 1,
        "capped": False,
        "done": 1,
        "refused": {},
        "job_id": None,
    }
    assert act(client, headers, action="retry", job_ids=[others[0], disk])["done"] == 1
    assert act(client, headers, action="discard", filter={}, reason="Test data")["done"] == 2
    assert jobs(client, headers) == [others[0]]


def test_what_takes_long_is_a_job(
    app: Flask,
    client: ConsoleClient,
    headers: dict[str, str],
    lose: MakeLetters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose(3)
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    answer = client.post(
        f"{URL}/bulk", json={"action": "retry", "filter": {}, "per_minute": 10}, headers=headers
    )
    assert answer.status_code == 202
    assert (answer.get_json()["count"], answer.get_json()["done"]) == (3, None)
    job = client.get(answer.headers["Location"], headers=headers).get_json()
    assert (job["type"], job["arguments"]["per_minute"]) == ("dead-letter-bulk", 10.0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "retry"}, "filter"),
        ({"action": "retry", "filter": {}, "job_ids": [1]}, "filter"),
        ({"action": "explode", "filter": {}}, "action"),
        ({"filter": {}}, "action"),
        ({"action": "resolve", "filter": {}}, "notes"),
        ({"action": "discard", "filter": {}, "notes": "x"}, "reason"),
        ({"action": "retry", "filter": {"older": "x"}}, "older"),
        ({"action": "retry", "filter": {"odd": "x"}}, "filter.odd"),
        ({"action": "retry", "job_ids": []}, "job_ids"),
        ({"action": "retry", "job_ids": [2**70]}, "job_ids"),
        ({"action": "retry", "job_ids": ["1"]}, "job_ids.0"),
        ({"action": "retry", "filter": {}, "per_minute": 0}, "per_minute"),
        ({"action": "retry", "filter": {}, "per_minute": "x"}, "per_minute"),
        ({"action": "resolve", "filter": {}, "notes": "x", "per_minute": 1}, "per_minute"),
        ({"action": "retry", "filter": {}, "when_breaker_closes": "x"}, "when_breaker_closes"),
        ({"action": "retry", "filter": {"text": "a\0"}}, "filter.text"),
    ],
)
def test_a_bulk_that_makes_no_sense_is_refused_by_field(
    client: ConsoleClient,
    headers: dict[str, str],
    lose: MakeLetters,
    body: dict[str, Any],
    field: str,
) -> None:
    lose()
    answer = client.post(f"{URL}/bulk", json=body, headers=headers)
    assert answer.status_code == 422
    assert list(answer.get_json()["errors"]) == [field]


def test_retries_wait_for_a_breaker_that_is_known(
    app: Flask, client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose()
    with app.app_context(), transaction() as session:
        session.add(
            CircuitBreakerState(
                name="bank",
                state="open",
                opened_at=clock_now(),
                open_seconds=30.0,
                failures=5,
                failure_threshold=5,
                updated_at=clock_now(),
                version=1,
            )
        )
    told = act(client, headers, action="retry", filter={}, when_breaker_closes="bank")
    assert told["job_id"] is not None


def test_an_admin_removes_what_was_closed_long_ago(
    app: Flask, client: ConsoleClient, headers: dict[str, str], lose: MakeLetters
) -> None:
    lose(2)
    act(client, headers, action="discard", filter={}, reason="Test data")
    lose()
    with app.app_context(), transaction() as session:
        long_ago = clock_now() - timedelta(days=31)
        closed = update(DeadLetter).where(DeadLetter.resolved_at.is_not(None))
        session.execute(closed.values(resolved_at=long_ago))
    admin = bearer(app, Role.ADMIN)
    for body, status in (({"days": -1}, 422), ({"days": 1.5}, 422), ({}, 422)):
        refused = client.post(f"{URL}/cleanup", json=body, headers=admin)
        assert (refused.status_code, list(refused.get_json()["errors"])) == (status, ["days"])
    assert client.post(f"{URL}/cleanup", json={"days": 30}, headers=headers).status_code == 403
    for days, removed in ((32, 0), (30, 2), (30, 0)):
        answer = client.post(f"{URL}/cleanup", json={"days": days}, headers=admin)
        assert answer.get_json() == {"removed": removed, "more": False}
    assert len(jobs(client, headers, "?resolved=any")) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"/{verb}/1") for verb in ("retry", "resolve", "discard")] + [("POST", "/bulk")],
)
def test_a_viewer_reads_and_changes_nothing(
    app: Flask, client: ConsoleClient, method: str, path: str
) -> None:
    viewer = bearer(app, Role.VIEWER)
    assert client.open(f"{URL}{path}", method=method, headers=viewer).status_code == 403
    for place in ("", "/stats", "/groups", "/export"):
        assert client.get(f"{URL}{place}", headers=viewer).status_code == 200

"""Jobs for programs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, update

from tests.conftest import ConsoleClient
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs.attempts import claim
from webapp.jobs.models import Job, JobAttempt, JobBatch, JobLogLine
from webapp.roles import Role

URL = "/api/v1/queue/jobs/test_echo"


def bearer(app: Flask, role: Role) -> dict[str, str]:
    with app.app_context(), transaction() as session:
        token = create_token(session, "", role=role, by=COMMAND, now=now())
    return {"Authorization": f"Bearer {token.text}"}


def test_a_job_is_taken_with_its_address(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    answer = client.post(URL, json={"arguments": {"value": 3}}, headers=headers)
    assert answer.status_code == 202
    shown = client.get(answer.headers["Location"], headers=headers).get_json()
    assert (shown["state"], shown["arguments"]["value"]) == ("queued", 3)
    assert shown["attempts"] == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"arguments": {"value": "x"}}, 422, "value"),
        ({"priority": 101}, 422, "priority"),
        ({"unknown": 1}, 422, "unknown"),
        ({"unique_key": ""}, 422, "unique_key"),
        ({"run_at": "2026-11-22T12:00:00"}, 422, "run_at"),
        ({"queue": "No Queue"}, 422, "queue"),
        ({"delay": -1}, 422, "delay"),
        ({"delay": 1, "run_at": "2026-11-22T12:00:00Z"}, 422, "delay"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "expires_at"),
        ({"depends_on": [2**70]}, 422, "depends_on.0"),
        ({"depends_on": [12345]}, 422, "depends_on"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(
    app: Flask, client: ConsoleClient, body: dict[str, Any], status: int, field: str
) -> None:
    answer = client.post(URL, json=body, headers=bearer(app, Role.OPERATOR))
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json()
    assert field in problem["errors"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]


def test_an_unknown_type_is_404(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    assert client.post("/api/v1/queue/jobs/none", json={}, headers=headers).status_code == 404


def test_a_unique_key_gives_the_standing_job(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    first, second = (
        client.post(URL, json={"unique_key": "k"}, headers=headers).get_json()["id"]
        for _ in range(2)
    )
    assert first == second


LIST = "/api/v1/queue/jobs"


def take(client: ConsoleClient, headers: dict[str, str], **body: Any) -> int:
    answer = client.post(URL, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return int(answer.get_json()["id"])


def change(app: Flask, job_id: int, **values: Any) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def ids(client: ConsoleClient, headers: dict[str, str], **query: Any) -> list[int]:
    answer = client.get(LIST, query_string=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.get_json()["items"]]


def test_the_unknown_type_is_told_which_there_are(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    answer = client.post("/api/v1/queue/jobs/none", json={}, headers=headers)
    assert "test_echo" in answer.get_json()["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_in_json_is_refused(
    app: Flask, client: ConsoleClient, number: str
) -> None:
    answer = client.post(
        URL,
        data=f'{{"arguments": {{"value": [{number}]}}}}',
        content_type="application/json",
        headers=bearer(app, Role.OPERATOR),
    )
    assert answer.status_code == 422


def test_options_are_kept(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    first = take(client, headers)
    body = {"queue": "slow", "priority": 7, "delay": 60, "depends_on": [first], "unique_key": "k"}
    shown = client.get(f"{LIST}/{take(client, headers, **body)}", headers=headers).get_json()
    assert (shown["queue"], shown["priority"], shown["held"]) == ("slow", 7, True)
    assert [item["id"] for item in shown["depends_on"]] == [first]
    other = client.get(f"{LIST}/{first}", headers=headers).get_json()
    assert [item["id"] for item in other["needed_by"]] == [shown["id"]]


def test_the_list_is_paged_newest_first_by_its_next_links(
    app: Flask, client: ConsoleClient
) -> None:
    headers = bearer(app, Role.OPERATOR)
    made = [take(client, headers, arguments={"value": number}) for number in range(7)]
    seen, url = [], f"{LIST}?type=test_echo&limit=3"
    while url:
        answer = client.get(url, headers=headers).get_json()
        assert answer["total"] == 7
        seen += [item["id"] for item in answer["items"]]
        url = answer["next"]
    assert seen == made[::-1]


def test_the_list_is_narrowed_by_each_filter(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    old, dead, batched, queued = (take(client, headers) for _ in range(4))
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    change(app, old, created_at=long_ago, finished_at=long_ago + timedelta(hours=1))
    change(app, dead, state="dead")
    with app.app_context(), transaction() as session:
        batch = JobBatch(name="b", size=1, created_at=long_ago, created_by="ada")
        session.add(batch)
        session.flush()
        batch_id = batch.id
    change(app, batched, batch_id=batch_id)
    change(app, queued, queue="slow")
    assert ids(client, headers) == [queued, batched, dead, old]
    assert ids(client, headers, state="dead") == [dead]
    assert ids(client, headers, queue="slow") == [queued]
    assert ids(client, headers, batch=batch_id) == [batched]
    assert ids(client, headers, type="etl") == []
    assert ids(client, headers, created_to="2020-01-02T00:00Z") == [old]
    assert ids(client, headers, created_from="2020-01-01T02:00:00+01:00", state="dead") == [dead]
    assert ids(client, headers, finished_from="2020-01-01", finished_to="2020-01-02") == [old]
    assert ids(client, headers, finished_from="2020-01-01T01:00:01") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "gone"),
        ("created_from", "yesterday"),
        ("finished_to", "0001-01-01T00:00+14:00"),
        ("batch", "x"),
        ("batch", "9" * 40),
        ("limit", "0"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_by_name(
    app: Flask, client: ConsoleClient, name: str, value: str
) -> None:
    answer = client.get(LIST, query_string={name: value}, headers=bearer(app, Role.VIEWER))
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [name])


def test_integers_of_any_size_stay_exact(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    large = 2**70 + 1
    job_id = take(client, headers, arguments={"value": large}, delay=60)
    assert f'"value": {large}' in client.get(f"{LIST}/{job_id}", headers=headers).text
    assert ids(client, headers, text=f"value:{large}") == [job_id]
    assert ids(client, headers, text=f"value:{large - 1}") == []
    assert str(large) in client.get("/api/v1/queue/scheduled", headers=headers).text


def test_secrets_are_masked_in_every_answer(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    job_id = take(client, headers)
    change(
        app, job_id, arguments={"password": "geheim"}, result={"token": "geheim"}, state="succeeded"
    )
    for url in (LIST, f"{LIST}/{job_id}"):
        text = client.get(url, headers=headers).text
        assert "geheim" not in text
        assert "[masked]" in text


def test_a_job_shows_its_log_and_its_attempts(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    job_id = take(client, headers)
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    line = {"job_id": job_id, "fence": 1, "at": at, "level": "info", "event": "read", "facts": {}}
    attempt = {"job_id": job_id, "type": "test_echo", "fence": 1, "started_at": at, "worker": "w"}
    with app.app_context(), transaction() as session:
        session.execute(insert(JobLogLine), [line])
        seen = {"outcome": "failed", "flags_seen": {"a": "on"}}
        session.execute(insert(JobAttempt), [attempt | seen])
    shown = client.get(f"{LIST}/{job_id}", headers=headers).get_json()
    assert shown["log"] == [
        {"at": "2026-11-22T12:00:00Z", "attempt": 1, "level": "info", "event": "read", "facts": {}}
    ]
    assert shown["attempts"][0]["flags_seen"] == {"a": "on"}
    assert shown["attempts"][0]["started_at"] == "2026-11-22T12:00:00Z"


def test_a_waiting_job_is_canceled_a_running_one_asked_and_an_ended_one_refused(
    app: Flask, client: ConsoleClient
) -> None:
    headers = bearer(app, Role.ADMIN)
    waiting, running = take(client, headers), take(client, headers)
    with app.app_context(), transaction() as session:
        assert claim(session, running, worker="w", lease_seconds=9, now=now())
    assert client.delete(f"{LIST}/{waiting}", headers=headers).get_json()["state"] == "canceled"
    asked = client.delete(f"{LIST}/{running}", headers=headers)
    assert (asked.status_code, asked.get_json()["stopping"]) == (202, True)
    assert client.delete(f"{LIST}/{waiting}", headers=headers).status_code == 409


def test_only_an_admin_cancels(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    job_id = take(client, headers)
    assert client.delete(f"{LIST}/{job_id}", headers=headers).status_code == 403


def test_a_dead_job_is_retried(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.OPERATOR)
    job_id = take(client, headers)
    refused = client.post(f"{LIST}/{job_id}/retry", headers=headers)
    assert refused.status_code == 409
    change(app, job_id, state="dead")
    answer = client.post(f"{LIST}/{job_id}/retry", headers=headers)
    assert (answer.status_code, answer.get_json()["state"]) == (202, "queued")
    assert answer.headers["Location"] == f"{LIST}/{job_id}"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"type": "gone"}, "There is no job type 'gone'"),
        ({"arguments": {"size": 1}}, "test_echo now takes other arguments. size:"),
        ({"unique_key": "taken"}, "Another job under the key 'taken' is unfinished"),
    ],
)
def test_a_refused_retry_says_why(
    app: Flask, client: ConsoleClient, values: dict[str, Any], why: str
) -> None:
    headers = bearer(app, Role.OPERATOR)
    job_id = take(client, headers)
    take(client, headers, unique_key="taken")
    change(app, job_id, state="dead", **values)
    answer = client.post(f"{LIST}/{job_id}/retry", headers=headers)
    assert answer.status_code == 409
    assert why in answer.get_json()["detail"]


def test_a_type_of_the_consoles_own_is_not_enqueued_by_hand(
    app: Flask, client: ConsoleClient
) -> None:
    headers = bearer(app, Role.ADMIN)
    arguments = {"action": "cancel", "by_kind": "user", "by_name": "somebody else"}
    wanted = {"type": "job-bulk", "arguments": arguments}
    answers = [
        client.post(f"{LIST}/job-bulk", json={"arguments": arguments}, headers=headers),
        client.post("/api/v1/queue/batches", json={"name": "b", "jobs": [wanted]}, headers=headers),
        client.post(
            "/api/v1/queue/schedules",
            json=wanted | {"name": "s", "cron": "0 6 * * *", "reason": "r"},
            headers=headers,
        ),
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 422]


def test_without_a_token_nothing_is_taken(client: ConsoleClient) -> None:
    client.csrf = False
    answer = client.post(URL, json={}, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_viewer_may_look_but_not_enqueue(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.VIEWER)
    assert client.post(URL, json={}, headers=headers).status_code == 403
    assert client.get("/api/v1/queue/stats", headers=headers).get_json()["states"]["queued"] == 0

"""Jobs for programs."""

from typing import Any

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import transaction
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


def test_without_a_token_nothing_is_taken(client: ConsoleClient) -> None:
    client.csrf = False
    answer = client.post(URL, json={}, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_viewer_may_look_but_not_enqueue(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.VIEWER)
    assert client.post(URL, json={}, headers=headers).status_code == 403
    assert client.get("/api/v1/queue/stats", headers=headers).get_json()["states"]["queued"] == 0

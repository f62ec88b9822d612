"""Queues and types of job over JSON."""

from typing import Any

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import transaction
from webapp.roles import Role

BASE = "/api/v1/queue"


@pytest.fixture
def headers(app: Flask, request: pytest.FixtureRequest) -> dict[str, str]:
    role = getattr(request, "param", Role.ADMIN)
    with app.app_context(), transaction() as session:
        token = create_token(session, "ops", role=role, by=COMMAND, now=now())
    return {"Authorization": f"Bearer {token.text}"}


def type_of(client: ConsoleClient, headers: dict[str, str], name: str) -> dict[str, Any]:
    items = client.get(f"{BASE}/job-types", headers=headers).get_json()["items"]
    found: dict[str, Any] = next(item for item in items if item["name"] == name)
    return found


def test_types_tell_their_schema_and_policy(client: ConsoleClient, headers: dict[str, str]) -> None:
    etl = type_of(client, headers, "etl")
    assert etl["arguments_schema"]["properties"]["batch_size"]["maximum"] == 5000
    assert etl["policy"]["max_retries"] == 3
    assert (etl["timeout"], etl["queue"], etl["priority"]) == (3600, "default", 50)
    assert (etl["paused"], etl["internal"], etl["version"]) == (None, False, 0)
    assert type_of(client, headers, "job-bulk")["internal"] is True


@pytest.mark.parametrize("kind", ["queues/default", "job-types/etl"])
@pytest.mark.parametrize("headers", [Role.OPERATOR], indirect=True)
def test_an_operator_pauses_and_resumes(
    client: ConsoleClient, headers: dict[str, str], kind: str
) -> None:
    paused = client.post(f"{BASE}/{kind}/pause", json={"reason": "Rest"}, headers=headers)
    told = paused.get_json()["paused"]
    assert (paused.status_code, told["by"], told["reason"]) == (200, "ops", "Rest")
    assert client.post(f"{BASE}/{kind}/pause", json={}, headers=headers).status_code == 409
    resumed = client.post(f"{BASE}/{kind}/resume", headers=headers)
    assert (resumed.status_code, resumed.get_json()["paused"]) == (200, None)
    assert client.post(f"{BASE}/{kind}/resume", headers=headers).status_code == 409


def test_what_there_is_not_cannot_be_paused(client: ConsoleClient, headers: dict[str, str]) -> None:
    for kind, status in (("job-types/none", 404), ("queues/No%20Queue", 422)):
        answer = client.post(f"{BASE}/{kind}/pause", json={"reason": "r"}, headers=headers)
        assert answer.status_code == status


def test_a_policy_is_set_from_the_version_that_was_seen(
    client: ConsoleClient, headers: dict[str, str]
) -> None:
    url = f"{BASE}/job-types/etl/policy"
    body = {"max_retries": 9, "timeout": 60, "reason": "Flaky", "version": 0}
    first = client.put(url, json=body, headers=headers).get_json()
    assert (first["policy"]["max_retries"], first["timeout"]) == (9, 60)
    assert (first["own_policy"]["max_retries"], first["own_timeout"]) == (3, 3600)
    assert client.put(url, json=body, headers=headers).status_code == 409
    body = {"reason": "Calm again", "version": first["version"]}
    assert client.put(url, json=body, headers=headers).get_json()["policy"]["max_retries"] == 3


@pytest.mark.parametrize(
    ("body", "field"), [({"jitter": 2}, "jitter"), ({"max_retries": 1.5}, "max_retries")]
)
def test_a_policy_out_of_bounds_is_refused(
    client: ConsoleClient, headers: dict[str, str], body: dict[str, Any], field: str
) -> None:
    answer = client.put(f"{BASE}/job-types/etl/policy", json=body, headers=headers)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [field])


@pytest.mark.parametrize("headers", [Role.OPERATOR], indirect=True)
def test_only_an_admin_sets_a_policy(client: ConsoleClient, headers: dict[str, str]) -> None:
    answer = client.put(f"{BASE}/job-types/etl/policy", json={}, headers=headers)
    assert answer.status_code == 403

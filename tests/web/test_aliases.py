"""Older addresses answer as the newer ones do."""

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.db import db
from webapp.jobs.models import Job

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


@pytest.mark.parametrize(
    "path", ["/queue/jobs?limit=1", "/feature-flags", "/nowhere", "/openapi.json"]
)
def test_an_older_address_answers_the_same(path: str, admin: ConsoleClient) -> None:
    old, new = admin.get(f"/v1{path}"), admin.get(f"/api/v1{path}")
    names = {"X-Request-ID"}
    assert old.status_code == new.status_code
    if old.status_code == 200:
        assert old.data == new.data
    kept = [{k: v for k, v in answer.headers.items() if k not in names} for answer in (old, new)]
    assert kept[0].keys() == kept[1].keys()


def test_addresses_in_answers_are_the_newer_ones(app: Flask, operator: ConsoleClient) -> None:
    made = operator.post("/v1/queue/jobs/test_echo", json={})
    assert made.headers["Location"].startswith("/api/v1/queue/jobs/")
    with app.app_context():
        assert db.session.query(Job).count() == 1


def test_a_key_that_came_by_one_is_known_by_the_other(operator: ConsoleClient) -> None:
    headers = {"Idempotency-Key": "order-1"}
    paths = ("/v1/queue/jobs/test_echo", "/api/v1/queue/jobs/test_echo")
    first, second = (operator.post(path, json={}, headers=headers) for path in paths)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.data == second.data


def test_an_older_address_asks_for_the_same_proof(client: ConsoleClient) -> None:
    client.csrf = False
    answer = client.post("/v1/queue/jobs/test_echo", json={})
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")


def test_evaluations_are_answered_too(admin: ConsoleClient) -> None:
    answer = admin.post("/v1/feature-flags/beta/evaluate", json={"user_id": "u"})
    assert answer.get_json()["reason"] == "not_found"

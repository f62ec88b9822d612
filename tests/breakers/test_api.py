"""Breakers for programs."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.breakers.test_service import add, open_it
from tests.conftest import ConsoleClient
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.breakers.recording import add_tallies
from webapp.breakers.values import Tally
from webapp.clock import now
from webapp.db import transaction
from webapp.roles import Role

URL = "/api/v1/circuit-breakers"
NAME = "callback:hooks.example.com"


@pytest.fixture
def headers(app: Flask) -> dict[str, str]:
    return bearer(app, Role.OPERATOR)


def bearer(app: Flask, role: Role) -> dict[str, str]:
    with app.app_context(), transaction() as session:
        token = create_token(session, "", role=role, by=COMMAND, now=now())
    return {"Authorization": f"Bearer {token.text}"}


@pytest.fixture(autouse=True)
def breakers(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        for name in (NAME, "billing", "mail"):
            add(session, name, now())
        open_it(session, "mail", now())
        add_tallies(session, {NAME: Tally(calls=9, failures=3, refused=2)}, now=now())


def test_circuits_are_listed_narrowed_and_paged(
    client: ConsoleClient, headers: dict[str, str]
) -> None:
    first = client.get(f"{URL}?limit=2", headers=headers).get_json()
    assert ([item["name"] for item in first["items"]], first["total"]) == (["mail", "billing"], 3)
    rest = client.get(f"{URL}?limit=2&after={first['next']}", headers=headers).get_json()
    assert ([item["name"] for item in rest["items"]], rest["next"]) == ([NAME], None)
    found = client.get(f"{URL}?state=open&q=MAI", headers=headers).get_json()
    assert [item["name"] for item in found["items"]] == ["mail"]
    for query in ("state=ajar", "limit=0", "after=nowhere"):
        assert client.get(f"{URL}?{query}", headers=headers).status_code == 422


def test_one_is_told_in_full(client: ConsoleClient, headers: dict[str, str]) -> None:
    body = client.get(f"{URL}/mail", headers=headers).get_json()
    assert (body["state"], body["circuit"], body["failures"]) == ("open", "open", 5)
    assert body["open_until"].endswith("Z")
    assert (body["thresholds"]["failures"], body["customized"], body["version"]) == (5, False, 0)
    assert [(event["kind"], event["to"]) for event in body["events"]] == [("transition", "open")]
    counted = client.get(f"{URL}/{NAME}", headers=headers).get_json()["recent"]
    assert (counted["calls"], counted["failures"]) == (9, 3)
    assert client.get(f"{URL}/nothing", headers=headers).status_code == 404


def test_a_reset_closes_it(client: ConsoleClient, headers: dict[str, str]) -> None:
    assert client.post(f"{URL}/mail/reset", json={}, headers=headers).status_code == 422
    answer = client.post(f"{URL}/mail/reset", json={"reason": "mended"}, headers=headers)
    assert (answer.status_code, answer.get_json()["state"]) == (200, "closed")


def test_a_force_is_set_and_ended(client: ConsoleClient, headers: dict[str, str]) -> None:
    until = (now() + timedelta(hours=1)).isoformat()
    body: dict[str, Any] = {"force": "open", "reason": "maintenance", "until": until}
    told = client.post(f"{URL}/billing/force", json=body, headers=headers).get_json()
    assert (told["state"], told["circuit"], told["force"]["force"]) == ("open", "closed", "open")
    assert told["force"]["reason"] == "maintenance"
    ended = {"force": "none", "reason": "over"}
    told = client.post(f"{URL}/billing/force", json=ended, headers=headers).get_json()
    assert (told["state"], told["force"]["force"]) == ("closed", "none")
    again = client.post(f"{URL}/billing/force", json=ended, headers=headers)
    assert again.status_code == 409
    wrong = client.post(f"{URL}/billing/force", json=body | {"force": "ajar"}, headers=headers)
    assert (wrong.status_code, set(wrong.get_json()["errors"])) == (422, {"force"})


def test_thresholds_change_by_version(client: ConsoleClient, headers: dict[str, str]) -> None:
    def put(**body: Any) -> Any:
        return client.put(f"{URL}/billing", json={"reason": "needed"} | body, headers=headers)

    told = put(failures=3, failure_rate=None, slow_seconds=2, version=0).get_json()
    assert told["customized"]
    assert told["version"] == 1
    assert told["thresholds"]["failures"] == 3
    assert told["thresholds"]["failure_rate"] is None
    assert told["thresholds"]["slow_seconds"] == 2
    assert put(failures=4, version=0).status_code == 409
    for body, field in (
        ({"failures": 0}, "failures"),
        ({"successes": None}, "successes"),
        ({"failures": 2, "declared": True}, "declared"),
    ):
        answer = put(**body)
        assert (answer.status_code, set(answer.get_json()["errors"])) == (422, {field})
    assert put().status_code == 422
    back = put(declared=True).get_json()
    assert (back["customized"], back["thresholds"]["failures"]) == (False, 5)


def test_all_are_summed_up(client: ConsoleClient, headers: dict[str, str]) -> None:
    body = client.get(f"{URL}/metrics/summary", headers=headers).get_json()
    assert (body["total"], body["by_state"]["open"], body["by_state"]["closed"]) == (3, 1, 2)
    assert (body["counts"]["calls"], body["counts"]["refused"], body["trips"]) == (9, 2, 1)
    assert [item["name"] for item in body["most_failures"]] == [NAME]


def test_a_trial_run_goes_through_every_state(
    client: ConsoleClient, headers: dict[str, str]
) -> None:
    answer = client.post(
        f"{URL}/test", json={"failures": 2, "open_seconds": 10, "growth": 2}, headers=headers
    )
    steps = answer.get_json()["steps"]
    assert [(step["at"], step["outcome"], step["state"]) for step in steps] == [
        (0.0, "success", "closed"),
        (0.0, "failure", "closed"),
        (0.0, "failure", "open"),
        (0.0, "refused", "open"),
        (10.0, "10 s pass", "half_open"),
        (10.0, "failure", "open"),
        (10.0, "refused", "open"),
        (30.0, "20 s pass", "half_open"),
        (30.0, "success", "half_open"),
        (30.0, "success", "closed"),
    ]
    assert steps[3]["seconds_left"] == 10
    many = {"failures": 300, "failure_rate": None, "successes": 100}
    steps = client.post(f"{URL}/test", json=many, headers=headers).get_json()["steps"]
    # However many calls it takes, it is driven to its end.
    assert [step["outcome"] for step in steps].count("failure") == 301
    assert steps[-1]["state"] == "closed"
    wrong = client.post(f"{URL}/test", json={"failures": 0}, headers=headers)
    assert wrong.status_code == 422
    assert client.get(f"{URL}/scratch", headers=headers).status_code == 404


def test_a_viewer_reads_and_changes_nothing(app: Flask, client: ConsoleClient) -> None:
    headers = bearer(app, Role.VIEWER)
    assert client.get(URL, headers=headers).status_code == 200
    for method, path in (
        ("POST", "/mail/reset"),
        ("POST", "/mail/force"),
        ("PUT", "/mail"),
        ("POST", "/test"),
    ):
        answer = client.open(URL + path, method=method, json={}, headers=headers)
        assert answer.status_code == 403

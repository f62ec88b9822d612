"""Alerts for programs."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from tests.architecture.population import populate
from tests.conftest import ConsoleClient
from tests.jobs.test_api import bearer
from webapp.alerts.models import AlertRule
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.moments import rfc3339
from webapp.roles import Role

URL = "/api/v1/alerts"
RULES = "/api/v1/alert-rules"
SILENCES = "/api/v1/alert-silences"
BODY = {
    "name": "failing",
    "metric": "job_failure_rate",
    "threshold": 10,
    "severity": "error",
    "reason": "Needed",
}


@pytest.fixture
def headers(app: Flask) -> dict[str, str]:
    """An admin's token, and no rules."""
    with app.app_context(), transaction() as session:
        session.execute(delete(AlertRule))
    return bearer(app, Role.ADMIN)


@pytest.fixture
def some_alerts(app: Flask, headers: dict[str, str], now: datetime) -> None:
    """Ten alerts, two of each state; the numbers 2 and 7 fire."""
    with app.app_context(), transaction() as session:
        populate(session, range(10), now=now)


def ids(client: ConsoleClient, headers: dict[str, str], url: str) -> list[int]:
    answer = client.get(url, headers=headers)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.get_json()["items"]]


def test_alerts_are_listed_newest_first_and_narrowed(
    client: ConsoleClient, headers: dict[str, str], some_alerts: None
) -> None:
    assert ids(client, headers, URL) == list(range(10, 0, -1))
    assert ids(client, headers, f"{URL}?state=firing") == [7, 2]
    assert ids(client, headers, f"{URL}?state=active") == [8, 7, 3, 2]
    assert ids(client, headers, f"{URL}?state=open") == [8, 7, 6, 3, 2, 1]
    assert ids(client, headers, f"{URL}?severity=critical") == [8, 4]
    assert ids(client, headers, f"{URL}?key=job_failure_rate:etl4") == [5]
    for bad in ("state=x", "severity=x"):
        assert client.get(f"{URL}?{bad}", headers=headers).status_code == 422
    page = client.get(f"{URL}?state=active&limit=3", headers=headers).get_json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([8, 7, 3], 4)
    assert ids(client, headers, page["next"]) == [2]


def test_one_alert_is_told_with_its_history(
    client: ConsoleClient, headers: dict[str, str], some_alerts: None
) -> None:
    body = client.get(f"{URL}/2", headers=headers).get_json()
    assert (body["state"], body["key"], body["unit"]) == (
        "firing",
        "job_failure_rate:etl1",
        "percent",
    )
    assert body["title"] == "Failure rate of a job type: etl1"
    (line,) = body["history"]
    assert (line["event"], line["value"], line["sample"]) == ("fired", 62.5, 8)
    listed = client.get(f"{URL}/2/history", headers=headers).get_json()
    assert (listed["items"], listed["total"]) == ([line], 1)
    for url in (f"{URL}/99", f"{URL}/99/history"):
        assert client.get(url, headers=headers).status_code == 404


def test_an_operator_acknowledges_what_fires_and_a_viewer_does_not(
    app: Flask, client: ConsoleClient, some_alerts: None
) -> None:
    operator, viewer = bearer(app, Role.OPERATOR), bearer(app, Role.VIEWER)
    assert client.post(f"{URL}/2/acknowledge", headers=viewer).status_code == 403
    answer = client.post(f"{URL}/2/acknowledge", json={"note": "Mine"}, headers=operator)
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body["state"] == "acknowledged"
    assert body["acknowledged_at"].endswith("Z")
    lines = client.get(f"{URL}/2", headers=viewer).get_json()["history"]
    assert (lines[0]["event"], lines[0]["note"]) == ("acknowledged", "Mine")
    assert client.post(f"{URL}/2/acknowledge", headers=operator).status_code == 409


def test_a_rule_is_made_changed_and_removed(client: ConsoleClient, headers: dict[str, str]) -> None:
    made = client.post(RULES, json=BODY, headers=headers)
    assert (made.status_code, made.headers["Location"]) == (201, f"{RULES}/failing"), made.text
    rule = made.get_json()
    assert (rule["comparison"], rule["window_seconds"], rule["cooldown_seconds"]) == (
        "above",
        3600,
        1800,
    )
    assert (rule["for_seconds"], rule["min_sample"], rule["enabled"]) == (0, 5, True)
    assert client.post(RULES, json=BODY, headers=headers).status_code == 409
    change = {"for_seconds": 60, "enabled": False, "version": 1, "reason": "Noise"}
    changed = client.patch(f"{RULES}/failing", json=change, headers=headers).get_json()
    assert (changed["for_seconds"], changed["enabled"], changed["version"]) == (60, False, 2)
    assert changed["threshold"] == 10.0
    assert client.patch(f"{RULES}/failing", json=change, headers=headers).status_code == 409
    assert client.get(RULES, headers=headers).get_json() == {"items": [changed], "total": 1}
    assert client.get(f"{RULES}?q=etl", headers=headers).get_json()["total"] == 0
    gone = client.delete(f"{RULES}/failing?reason=Noise&version=2", headers=headers)
    assert gone.status_code == 204
    assert client.get(f"{RULES}/failing", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"metric": "x"}, "metric"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": "10"}, "threshold"),
        ({"severity": "x"}, "severity"),
        ({"channels": ["nobody"]}, "channels"),
        ({"reason": ""}, "reason"),
        ({"unheard": 1}, "unheard"),
    ],
)
def test_a_refusal_names_the_field(
    client: ConsoleClient, headers: dict[str, str], fields: dict[str, Any], field: str
) -> None:
    answer = client.post(RULES, json=BODY | fields, headers=headers)
    assert answer.status_code == 422, answer.text
    assert list(answer.get_json()["errors"]) == [field]


def test_a_refusal_of_seconds_names_them_as_they_were_given(
    client: ConsoleClient, headers: dict[str, str]
) -> None:
    given = {"window_seconds": 1, "for_seconds": -1, "cooldown_seconds": 1}
    answer = client.post(RULES, json=BODY | given, headers=headers)
    assert set(answer.get_json()["errors"]) == set(given)


def test_a_preview_saves_nothing_and_is_for_viewers(app: Flask, client: ConsoleClient) -> None:
    body = {"metric": "workers_alive", "comparison": "below", "threshold": 1, "severity": "error"}
    answer = client.post(f"{RULES}/preview", json=body, headers=bearer(app, Role.VIEWER))
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    assert (told["has_history"], told["firings"]) == (False, [])
    assert told["now"] == [{"label": "", "value": 0.0, "sample": None, "holds": True}]
    bad = client.post(
        f"{RULES}/preview", json=body | {"hours": 5}, headers=bearer(app, Role.VIEWER)
    )
    assert list(bad.get_json()["errors"]) == ["hours"]


def test_an_operator_silences_and_ends_it(app: Flask, client: ConsoleClient) -> None:
    operator = bearer(app, Role.OPERATOR)
    ends_at = rfc3339(clock_now() + timedelta(hours=1))
    body = {"label": "etl", "ends_at": ends_at, "reason": "Rehearsal"}
    made = client.post(SILENCES, json=body, headers=operator)
    assert made.status_code == 201, made.text
    silence = made.get_json()
    assert (silence["active"], silence["rule"], silence["label"]) == (True, "", "etl")
    assert client.get(made.headers["Location"], headers=operator).get_json() == silence
    assert ids(client, operator, f"{SILENCES}?active=true") == [silence["id"]]
    end = f"{SILENCES}/{silence['id']}/end"
    assert client.post(end, json={}, headers=operator).status_code == 422
    ended = client.post(end, json={"reason": "Over"}, headers=operator).get_json()
    assert (ended["active"], bool(ended["ended_by"])) == (False, True)
    assert client.post(end, json={"reason": "Over"}, headers=operator).status_code == 409
    assert ids(client, operator, f"{SILENCES}?active=true") == []
    assert ids(client, operator, SILENCES) == [silence["id"]]

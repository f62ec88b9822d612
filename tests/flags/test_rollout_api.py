"""Plans and guards over JSON: as fields of a flag, what is done to a plan, what guards see."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from tests.flags.conftest import Send
from tests.odd_texts import ODD_TEXTS
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.flags.guarding import check
from webapp.flags.measuring import measure
from webapp.flags.rollouts import take_step
from webapp.roles import Role

GUARD = {"name": "errors", "metric": "errors", "threshold": 10, "window": 600}


def whole(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def start() -> datetime:
    """Now, in whole seconds: the routes have the program's own clock."""
    return clock_now().replace(microsecond=0)


@pytest.fixture
def body(start: datetime) -> dict[str, Any]:
    """A flag with a plan whose first step is taken, and a guard."""
    plan = [
        {"at": whole(start + timedelta(days=days)), "percentage": share}
        for days, share in ((-1, 5.0), (3, 25.0), (7, 100.0))
    ]
    return {
        "name": "ui.beta",
        "enabled": True,
        "percentage": 5,
        "rollout_plan": plan,
        "guards": [GUARD],
    }


@pytest.fixture
def made(send: Send, body: dict[str, Any]) -> dict[str, Any]:
    """The flag as the API told it when it was made."""
    answer = send("POST", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_plan_and_guards_are_fields_of_a_flag(
    made: dict[str, Any], body: dict[str, Any], send: Send
) -> None:
    assert made["rollout_plan"] == body["rollout_plan"]
    (guard,) = made["guards"]
    assert guard == GUARD | {"scope": "", "min_sample": None, "action": "roll_back"}
    rollout = made["rollout"]
    assert (rollout["state"], rollout["next_percentage"]) == ("running", 25)
    assert rollout["next_at"] == body["rollout_plan"][1]["at"]
    assert send("GET", "/ui.beta").get_json() == made
    export = send("GET", "/export").get_json()
    (flag,) = export["flags"]
    assert (flag["rollout_plan"], flag["guards"]) == (made["rollout_plan"], made["guards"])
    done = send("POST", "/import", json=export | {"reason": "Back"}).get_json()
    assert done["counts"]["unchanged"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rollout_plan", [{"at": "2026-11-22", "percentage": 5}]),
        ("rollout_plan", [{"at": "2026-11-22T12:00:00", "percentage": 5}]),
        ("rollout_plan", [{"at": "2026-11-22T12:00:00Z"}]),
        ("rollout_plan", [{"at": "2026-11-22T12:00:00Z", "percentage": 101}]),
        ("rollout_plan", [{"at": "0001-01-01T00:00:00+14:00", "percentage": 5}]),
        ("rollout_plan", "soon"),
        ("guards", [GUARD | {"metric": "mood"}]),
        ("guards", [GUARD | {"action": "pray"}]),
        ("guards", [GUARD | {"threshold": None}]),
        ("guards", [GUARD | {"threshold": "10"}]),
        ("guards", [GUARD | {"window": 1.5}]),
        ("guards", [GUARD | {"more": 1}]),
        ("guards", [GUARD, GUARD]),
    ],
)
def test_what_is_no_plan_or_guard_is_refused_and_names_its_field(
    made: dict[str, Any], send: Send, field: str, value: object
) -> None:
    answer = send("PUT", "/ui.beta", json={field: value, "reason": "r"})
    assert answer.status_code == 422
    assert all(name.startswith(field) for name in answer.get_json()["errors"])
    assert send("GET", "/ui.beta").get_json() == made


def test_plan_and_guards_are_an_admins(made: dict[str, Any], send: Send) -> None:
    for field in ("rollout_plan", "guards"):
        sent = {field: [], "reason": "r"}
        assert send("PUT", "/ui.beta", Role.OPERATOR, json=sent).status_code == 403
        assert send("PUT", "/ui.beta", Role.ADMIN, json=sent).status_code == 200


def test_an_operator_pauses_resumes_skips_and_rolls_back(made: dict[str, Any], send: Send) -> None:
    told = []
    for verb in ("pause", "resume", "skip", "roll-back", "resume"):
        answer = send("POST", f"/ui.beta/rollout/{verb}", Role.OPERATOR, json={"reason": "Because"})
        assert answer.status_code == 200, answer.text
        flag = answer.get_json()
        told.append((flag["percentage"], flag["rollout"]["state"], flag["version"]))
        assert (flag["rollout"]["reason"], flag["rollout"]["by"]) == (
            "Because",
            "test-operator-None",
        )
    assert told == [
        (5, "paused", 2),
        (5, "running", 3),
        (25, "running", 4),
        (5, "rolled_back", 5),
        (5, "running", 6),
    ]


@pytest.mark.parametrize("verb", ["pause", "resume", "skip", "roll-back"])
def test_what_is_done_to_a_plan_is_refused_in_words(
    made: dict[str, Any], send: Send, verb: str
) -> None:
    url = f"/ui.beta/rollout/{verb}"
    assert send("POST", url, Role.VIEWER, json={"reason": "r"}).status_code == 403
    wanted = {"reason": "r", "version": 9}
    assert send("POST", url, Role.OPERATOR, json=wanted).status_code == 409
    if verb == "resume":
        answer = send("POST", url, Role.OPERATOR, json={"reason": "r"})
        assert answer.status_code == 409
        assert "nothing to resume" in answer.get_json()["detail"]
    else:
        assert send("POST", url, Role.OPERATOR).get_json()["errors"].keys() == {"reason"}
    assert send("POST", f"/none/rollout/{verb}", json={"reason": "r"}).status_code == 404


def test_moving_the_percentage_pauses_the_plan(made: dict[str, Any], send: Send) -> None:
    sent = {"percentage": 40, "reason": "Faster"}
    flag = send("PUT", "/ui.beta", Role.OPERATOR, json=sent).get_json()
    assert (flag["rollout"]["state"], flag["rollout"]["next_at"]) == ("paused", None)


def test_guards_tell_what_they_see_and_how_they_tripped(
    app: Flask, made: dict[str, Any], send: Send, start: datetime
) -> None:
    before = send("GET", "/ui.beta/guards", Role.VIEWER).get_json()
    (guard,) = before["guards"]
    assert (guard["state"], guard["value"], guard["limit"]) == ("collecting", None, 10)
    assert guard["when"] == "rolls back when over 10 errors are reported in 10 min"
    for count in (4, 7):
        answer = send("POST", "/ui.beta/errors", Role.OPERATOR, json={"count": count})
        assert answer.status_code == 204
    with app.app_context(), transaction() as session:
        at = start + timedelta(minutes=2)
        done = check(session, measure(session, now=at), now=at, alpha=0.002)
    assert done is not None
    # The minute in which it was made is not a whole one of its own.
    assert done.trips == []
    (guard,) = send("GET", "/ui.beta/guards").get_json()["guards"]
    assert guard["state"] in {"calm", "harm"}
    with app.app_context(), transaction() as session:
        take_step(session, "ui.beta", now=at)


def test_a_program_reports_errors_and_no_viewer_does(made: dict[str, Any], send: Send) -> None:
    assert send("POST", "/ui.beta/errors", Role.VIEWER, json={}).status_code == 403
    assert send("POST", "/ui.beta/errors", Role.OPERATOR).status_code == 204
    assert send("POST", "/none/errors", json={}).status_code == 404
    for count in (0, -1, 1_000_001, 1.5, "1", True):
        assert send("POST", "/ui.beta/errors", json={"count": count}).status_code == 422, count
    send("DELETE", "/ui.beta", json={"reason": "Over"})
    assert send("POST", "/ui.beta/errors", json={}).status_code == 409


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_whatever_a_guard_is_called_there_is_an_answer(
    made: dict[str, Any], send: Send, odd: bytes
) -> None:
    text = odd.decode("utf-8", "surrogateescape")
    for guard in (GUARD | {"name": text}, {"name": "b", "metric": "breaker_open", "scope": text}):
        answer = send("PUT", "/ui.beta", json={"guards": [guard], "reason": "r"})
        assert answer.status_code < 500
        assert send("GET", "/ui.beta/guards").status_code == 200
        assert send("GET", "/export").status_code == 200

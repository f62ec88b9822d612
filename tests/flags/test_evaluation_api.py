"""Many flags at once, and why one answers as it does, over JSON."""

from datetime import datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.flags.conftest import URL, Send
from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags.schemas import MAX_BULK
from webapp.flags.service import archive_flag, create_flag
from webapp.flags.values import FlagDraft
from webapp.roles import Role

NO_VARIANT = {"rule": None, "variant": None, "value": None}
ON = {"enabled": True, "reason": "everyone"} | NO_VARIANT
UNKNOWN = {"enabled": False, "reason": "not_found"} | NO_VARIANT


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """One that is on, one for staging, one that is archived."""
    drafts = [
        FlagDraft(name="a.on", enabled=True, percentage=100),
        FlagDraft(name="b.staging", enabled=True, environment_overrides={"staging": True}),
        FlagDraft(name="c.archived", enabled=True, percentage=100),
    ]
    with app.app_context(), transaction() as session:
        for draft in drafts:
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
        archive_flag(session, "c.archived", by=COMMAND, now=now, reason="r")


def test_without_names_every_flag_in_use_answers(send: Send) -> None:
    body = send("POST", "/evaluate-bulk", Role.VIEWER, json={"user_id": "u"}).get_json()
    assert body["evaluation_time_ms"] >= 0
    assert list(body) == ["flags", "evaluation_time_ms"]
    assert body["flags"] == {"a.on": ON, "b.staging": UNKNOWN | {"reason": "nobody"}}


def test_the_flags_that_are_named_answer_and_unknown_ones_say_so(send: Send) -> None:
    names = ["a.on", "none", "c.archived", "a.on"]
    body = send("POST", "/evaluate-bulk", json={"flag_names": names}).get_json()
    assert body["flags"] == {"a.on": ON, "none": UNKNOWN, "c.archived": UNKNOWN}
    assert send("POST", "/evaluate-bulk", json={"flag_names": []}).get_json()["flags"] == {}


def test_a_token_of_one_environment_asks_about_that_one(send: Send) -> None:
    asked = {"flag_names": ["b.staging"]}
    answer = send("POST", "/evaluate-bulk", Role.VIEWER, "staging", json=asked).get_json()
    assert answer["flags"]["b.staging"]["reason"] == "environment_override"
    elsewhere = asked | {"environment": "production"}
    for path in ("/evaluate-bulk", "/b.staging/explain"):
        body = elsewhere if path == "/evaluate-bulk" else {"environment": "production"}
        assert send("POST", path, Role.VIEWER, "staging", json=body).status_code == 403
    told = send("POST", "/b.staging/explain", Role.VIEWER, "staging", json={}).get_json()
    assert told["decided_by"] == "environment_override"


@pytest.mark.parametrize(
    ("number", "status"), [(MAX_BULK, 200), (MAX_BULK + 1, 422)], ids=["most", "more"]
)
def test_at_most_a_thousand_names_are_asked_for(
    send: Send, number: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many unknown names would fill what this process remembers of them.
    monkeypatch.setattr("webapp.flags.snapshot._unknown", set())
    names = [f"flag{index}" for index in range(number)]
    answer = send("POST", "/evaluate-bulk", json={"flag_names": names})
    assert answer.status_code == status


@pytest.mark.parametrize("body", [{"flag_names": "a.on"}, {"flag_names": [1]}, {"names": []}])
def test_what_is_no_question_names_its_field(send: Send, body: dict[str, object]) -> None:
    answer = send("POST", "/evaluate-bulk", json=body)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert answer.get_json()["errors"]


def test_a_program_without_a_token_is_refused(app: Flask) -> None:
    client = FlaskClient(app, use_cookies=False)
    for path in ("/evaluate-bulk", "/a.on/explain"):
        assert client.post(URL + path, json={}).status_code == 401


def test_an_explanation_tells_every_step(send: Send) -> None:
    asked = {"user_id": "u", "environment": "production"}
    told = send("POST", "/a.on/explain", Role.VIEWER, json=asked).get_json()
    answer = send("POST", "/a.on/evaluate", Role.VIEWER, json=asked).get_json()
    answer.pop("evaluation_time_ms")
    steps = told.pop("steps")
    assert told == answer | {"decided_by": "percentage", "split": None}
    assert [step["outcome"] for step in steps] == ["passed"] * 8 + ["decided"]
    assert steps[2]["inputs"]["now"].endswith("Z")
    assert steps[6]["inputs"] == {"environment": "production", "environments": []}


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("c.archived", {"exists": True, "archived": True}),
        ("none", {"exists": False, "archived": False}),
    ],
)
def test_an_explanation_of_what_is_not_there_says_so(
    send: Send, name: str, inputs: dict[str, bool]
) -> None:
    told = send("POST", f"/{name}/explain", json={}).get_json()
    assert (told["reason"], told["decided_by"]) == ("not_found", "known")
    assert told["steps"][0] == {"step": "known", "outcome": "decided", "inputs": inputs}

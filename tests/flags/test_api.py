"""Flags over JSON: evaluation, lists, writes, and who may do which."""

import json
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.flags.conftest import URL, Send, make_token
from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags.service import archive_flag, create_flag
from webapp.flags.shared import Trace, create_group, create_segment
from webapp.flags.values import Condition, FlagDraft, GroupDraft, Operator, SegmentDraft
from webapp.roles import Role


@pytest.fixture
def flag(app: Flask, now: datetime) -> None:
    """One flag with something of everything."""
    draft = FlagDraft(
        name="ui.beta",
        enabled=True,
        percentage=12.5,
        whitelist=("vera",),
        environment_overrides={"staging": True},
        tags=("ui",),
    )
    with app.app_context(), transaction() as session:
        create_flag(session, draft, by=COMMAND, now=now, reason="r")


@pytest.mark.parametrize("path", ["/ui.beta/evaluate", "/ui.beta/check"])
def test_evaluate_and_check_answer_alike(flag: None, send: Send, path: str) -> None:
    answer = send("POST", path, Role.VIEWER, json={"user_id": "vera", "environment": "production"})
    assert answer.status_code == 200
    body = answer.get_json()
    assert body.pop("evaluation_time_ms") >= 0
    assert body == {
        "flag_name": "ui.beta",
        "enabled": True,
        "reason": "whitelist",
        "rule": None,
        "variant": None,
        "value": None,
    }


def test_check_takes_its_question_from_the_query(flag: None, send: Send) -> None:
    answer = send("GET", "/ui.beta/check?user_id=vera&environment=production&debug=1", Role.VIEWER)
    assert (answer.get_json()["enabled"], answer.get_json()["reason"]) == (True, "whitelist")
    assert send("GET", f"/ui.beta/check?user_id={'x' * 256}").status_code == 422


def test_an_unknown_flag_is_an_answer_not_an_error(send: Send) -> None:
    answer = send("POST", "/none/evaluate", json={"user_id": "vera"})
    assert answer.status_code == 200
    assert (answer.get_json()["enabled"], answer.get_json()["reason"]) == (False, "not_found")


def test_a_question_may_be_empty(flag: None, send: Send) -> None:
    assert send("POST", "/ui.beta/evaluate").get_json()["reason"] == "no_subject"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"user_id": 7}', 422),
        (b'{"user": "vera"}', 422),
        (b'{"user_id": "\\ud800"}', 400),
        (b'{"attributes": []}', 422),
        (b'{"attributes": {"plan": "pro"}}', 200),
    ],
)
def test_what_is_no_question_is_refused(flag: None, send: Send, body: bytes, status: int) -> None:
    answer = send("POST", "/ui.beta/evaluate", data=body, content_type="application/json")
    assert answer.status_code == status
    if status != 200:
        assert answer.content_type == "application/problem+json"


def test_a_token_of_one_environment_evaluates_there_only(flag: None, send: Send) -> None:
    bound = send("POST", "/ui.beta/evaluate", Role.VIEWER, "staging", json={"user_id": "u"})
    assert bound.get_json()["reason"] == "environment_override"
    body = {"user_id": "u", "environment": "production"}
    assert send("POST", "/ui.beta/evaluate", Role.VIEWER, "staging", json=body).status_code == 403


def test_a_program_without_a_token_is_refused(flag: None, app: Flask) -> None:
    client = FlaskClient(app, use_cookies=False)
    assert client.post(f"{URL}/ui.beta/evaluate", json={}).status_code == 401
    assert client.get(URL).status_code == 401


def test_a_flag_is_made_read_changed_and_listed(send: Send) -> None:
    body = {
        "name": "new.flag",
        "percentage": 25,
        "environment_overrides": {"staging": True, "demo": 12.5},
        "starts_at": "2026-11-22T13:00:00+01:00",
        "metadata": {"owner": {"team": "web"}},
        "reason": "wanted",
    }
    made = send("POST", json=body)
    assert (made.status_code, made.headers["Location"]) == (201, f"{URL}/new.flag")
    flag = send("GET", "/new.flag", Role.VIEWER).get_json()
    assert flag == made.get_json()
    assert (flag["version"], flag["percentage"], flag["stickiness"]) == (1, 25.0, "new.flag")
    assert flag["environment_overrides"] == body["environment_overrides"]
    assert flag["starts_at"] == "2026-11-22T12:00:00Z"
    change = {"enabled": True, "starts_at": None, "reason": "now", "version": 1}
    changed = send("PUT", "/new.flag", json=change).get_json()
    assert (changed["version"], changed["enabled"], changed["starts_at"]) == (2, True, None)
    assert changed["percentage"] == 25.0
    listed = send("GET", "?q=new&limit=1", Role.VIEWER).get_json()
    assert listed == {"items": [changed], "total": 1}
    assert send("GET", "?skip=1").get_json() == {"items": [], "total": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"percentage": 101, "reason": "r"}, "percentage"),
        ({"percentage": "25", "reason": "r"}, "percentage"),
        ({"percentage": True, "reason": "r"}, "percentage"),
        ({"percentage": None, "reason": "r"}, "percentage"),
        ({"enabled": "yes", "reason": "r"}, "enabled"),
        ({"expires_at": "2026-11-22T13:00:00", "reason": "r"}, "expires_at"),
        (
            {"starts_at": "2026-01-02T00:00Z", "expires_at": "2026-01-01T00:00Z", "reason": "r"},
            "expires_at",
        ),
        ({"blacklist": ["vera"], "reason": "r"}, "blacklist"),
        ({"colour": "red", "reason": "r"}, "colour"),
        ({"name": "other", "reason": "r"}, "name"),
        ({"percentage": 1}, "reason"),
        ({"percentage": 1, "reason": " "}, "reason"),
    ],
)
def test_a_refusal_names_the_field_and_saves_nothing(
    flag: None, send: Send, body: dict[str, Any], field: str
) -> None:
    answer = send("PUT", "/ui.beta", json=body)
    assert answer.status_code == 422
    assert field in {name.partition(".")[0] for name in answer.get_json()["errors"]}
    assert send("GET", "/ui.beta").get_json()["version"] == 1


def test_an_old_version_is_a_conflict(flag: None, send: Send) -> None:
    body = {"percentage": 1, "reason": "r", "version": 1}
    assert send("PUT", "/ui.beta", json=body).status_code == 200
    answer = send("PUT", "/ui.beta", json=body | {"percentage": 2})
    assert answer.status_code == 409
    assert "version 2" in answer.get_json()["detail"]
    assert send("POST", json={"name": "ui.beta"}).status_code == 409


@pytest.mark.parametrize(
    ("role", "method", "path", "body", "status"),
    [
        (Role.VIEWER, "GET", "", None, 200),
        (Role.VIEWER, "PUT", "/ui.beta", {"percentage": 1, "reason": "r"}, 403),
        (Role.OPERATOR, "PUT", "/ui.beta", {"percentage": 1, "reason": "r"}, 200),
        (Role.OPERATOR, "PUT", "/ui.beta", {"enabled": False, "reason": "r"}, 200),
        (Role.OPERATOR, "PUT", "/ui.beta", {"tags": ["x"], "reason": "r"}, 403),
        (Role.OPERATOR, "POST", "", {"name": "x"}, 403),
        (Role.ADMIN, "PUT", "/ui.beta", {"tags": ["x"], "reason": "r"}, 200),
        (Role.ADMIN, "PUT", "/none", {"tags": ["x"], "reason": "r"}, 404),
        (Role.ADMIN, "GET", "?limit=501", None, 422),
        (Role.ADMIN, "GET", "?state=weird", None, 422),
    ],
)
def test_roles_decide_who_may_do_what(  # noqa: PLR0917  # columns of the table
    flag: None, send: Send, role: Role, method: str, path: str, body: Any, status: int
) -> None:
    data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    assert send(method, path, role, **data).status_code == status


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", '{"a": 99999999999999999999}'),
        ("metadata", '{"a":' * 50 + "1" + "}" * 50),
        ("metadata", '{"a":' * 255 + "1" + "}" * 255),
        ("metadata", '{"a":' * 700 + "1" + "}" * 700),
        ("starts_at", '"0001-01-01T00:00:00+14:00"'),
        ("expires_at", '"9999-12-31T23:59:00-14:00"'),
    ],
)
def test_what_could_not_be_written_back_is_refused(
    flag: None, send: Send, field: str, value: str
) -> None:
    for method, path, more in (
        ("POST", "", '"name": "odd", '),
        ("PUT", "/ui.beta", '"reason": "r", '),
    ):
        body = "{" + more + f'"{field}": {value}' + "}"
        answer = send(method, path, data=body, content_type="application/json")
        # JSON that is too deep to be read at all is a bad request.
        assert answer.status_code == (400 if len(value) > 1000 else 422), answer.text
    assert send("GET").status_code == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=500&skip=1000000", 200),
        ("limit=0000500", 200),
        ("limit=501", 422),
        ("limit=00000000599", 422),
        ("skip=00000000001", 422),
        ("limit=" + "9" * 5000, 422),
        ("limit=-1", 422),
        ("limit=%D9%A3", 422),
    ],
)
def test_a_page_of_the_list_is_asked_for_in_plain_numbers(
    send: Send, query: str, status: int
) -> None:
    assert send("GET", f"?{query}", Role.VIEWER).status_code == status


def test_a_token_of_one_environment_tries_a_flag_there_only(
    flag: None, send: Send, app: Flask
) -> None:
    with app.app_context(), transaction() as session:
        token = make_token(session, Role.VIEWER, "staging")
    program = FlaskClient(app, use_cookies=False)

    def page(query: str) -> TestResponse:
        url = f"/flags/ui.beta?subject=u{query}"
        return program.get(url, headers={"Authorization": f"Bearer {token}"})

    assert "environment_override" in page("").text.replace(" ", "_")
    assert page("&environment=staging").status_code == 200
    assert page("&environment=production").status_code == 403


def test_the_audit_of_a_flag_is_paged_newest_first(flag: None, send: Send) -> None:
    for percentage in (20, 30):
        send("PUT", "/ui.beta", json={"percentage": percentage, "reason": f"to {percentage}"})
    page = send("GET", "/ui.beta/audit?limit=2", Role.VIEWER).get_json()
    assert (page["total"], page["capped"]) == (3, False)
    assert [entry["reason"] for entry in page["items"]] == ["to 30", "to 20"]
    newest = page["items"][0]
    assert newest["changes"] == {"percentage": {"old": 20.0, "new": 30.0}}
    assert (newest["action"], newest["actor_kind"]) == ("flag.updated", "token")
    rest = send("GET", "/ui.beta/audit?skip=2", Role.VIEWER).get_json()
    assert [entry["action"] for entry in rest["items"]] == ["flag.created"]
    assert send("GET", "/ui.beta/audit?skip=9").get_json()["items"] == []
    assert send("GET", "/none/audit").status_code == 404
    assert send("GET", "/ui.beta/audit?limit=501").status_code == 422


def test_the_total_of_an_audit_is_capped(
    flag: None, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.flags.api.COUNT_CAP", 0)
    page = send("GET", "/ui.beta/audit").get_json()
    assert (page["total"], page["capped"], len(page["items"])) == (0, True, 1)


@pytest.mark.parametrize("in_query", [False, True])
def test_delete_archives_and_says_why(flag: None, send: Send, in_query: bool) -> None:
    if in_query:
        answer = send("DELETE", "/ui.beta?reason=over&version=1")
    else:
        answer = send("DELETE", "/ui.beta", json={"reason": "over", "version": 1})
    assert (answer.status_code, answer.get_json()["version"]) == (200, 2)
    assert answer.get_json()["archived_at"] is not None
    entry = send("GET", "/ui.beta/audit").get_json()["items"][0]
    assert (entry["action"], entry["reason"]) == ("flag.archived", "over")
    assert send("DELETE", "/ui.beta?reason=again").get_json()["version"] == 2


@pytest.mark.parametrize(
    ("path", "role", "status"),
    [
        ("/ui.beta?reason=r", Role.OPERATOR, 403),
        ("/ui.beta", Role.ADMIN, 422),
        ("/ui.beta?reason=r&version=2", Role.ADMIN, 409),
        ("/ui.beta?reason=r&version=x", Role.ADMIN, 422),
        ("/ui.beta?reason=r&version=" + "9" * 5000, Role.ADMIN, 422),
        ("/ui.beta?reason=r&purge=yes", Role.ADMIN, 422),
        ("/ui.beta?reason=r&purge=true", Role.ADMIN, 409),
        ("/none?reason=r", Role.ADMIN, 404),
        ("/none?reason=r&purge=true", Role.ADMIN, 404),
    ],
)
def test_a_refused_delete_leaves_the_flag(
    flag: None, send: Send, path: str, role: Role, status: int
) -> None:
    answer = send("DELETE", path, role)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    kept = send("GET", "/ui.beta").get_json()
    assert (kept["version"], kept["archived_at"]) == (1, None)


def test_a_purge_removes_an_archived_flag_and_keeps_its_last_state(flag: None, send: Send) -> None:
    last = send("DELETE", "/ui.beta?reason=over").get_json()
    assert send("DELETE", "/ui.beta?purge=true&reason=r&version=1").status_code == 409
    assert send("DELETE", "/ui.beta?purge=true").status_code == 422
    answer = send("DELETE", "/ui.beta?purge=true&reason=gone", json={"version": 2})
    assert (answer.status_code, answer.data) == (204, b"")
    assert send("GET", "/ui.beta").status_code == 404
    entries = send("GET", "/ui.beta/audit").get_json()["items"]
    assert [entry["action"] for entry in entries] == [
        "flag.purged",
        "flag.archived",
        "flag.created",
    ]
    state = {field: change["old"] for field, change in entries[0]["changes"].items()}
    for field in ("percentage", "whitelist", "environment_overrides", "tags", "version"):
        assert state[field] == last[field], field
    assert {change["new"] for change in entries[0]["changes"].values()} == {None}
    assert send("POST", json={"name": "ui.beta"}).status_code == 201


@pytest.mark.parametrize("name", ["export", "new"])
def test_a_flag_cannot_take_an_address_of_the_console(send: Send, name: str) -> None:
    answer = send("POST", json={"name": name})
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["name"])


def test_an_override_of_one_percent_is_not_the_same_as_on(flag: None, send: Send) -> None:
    body = {"environment_overrides": {"staging": 1}, "reason": "less"}
    changed = send("PUT", "/ui.beta", json=body).get_json()
    assert (changed["version"], changed["environment_overrides"]) == (2, {"staging": 1.0})
    assert send("GET", "/ui.beta").get_json()["environment_overrides"]["staging"] is not True


@pytest.fixture
def several(app: Flask, now: datetime) -> None:
    """Flags of two groups and of none, on and off, in use and archived."""
    with app.app_context(), transaction() as session:
        trace = Trace(COMMAND, now, "r")
        for group in ("checkout", "search"):
            create_group(session, GroupDraft(name=group), trace)
        for draft in (
            FlagDraft(name="a.pay", group="checkout", enabled=True, percentage=50.0),
            FlagDraft(name="b.cart", group="checkout", percentage=50.0),
            FlagDraft(name="c.find", group="search", enabled=True, percentage=50.0),
            FlagDraft(name="d.alone", enabled=True, percentage=50.0),
            FlagDraft(name="e.over", group="checkout", enabled=True, percentage=50.0),
        ):
            create_flag(session, draft, **trace._asdict())
        archive_flag(session, "e.over", **trace._asdict())


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "abcd"),
        ("group=checkout", "ab"),
        ("group=search", "c"),
        ("group=none", ""),
        ("group=", "abcd"),
        ("enabled=true", "acd"),
        ("enabled=false", "b"),
        ("archived=true", "e"),
        ("archived=false", "abcd"),
        ("group=checkout&enabled=true", "a"),
        ("group=checkout&archived=true", "e"),
        ("group=search&archived=true", ""),
        ("enabled=false&archived=true", ""),
        ("state=archived", "e"),
        ("state=archived&archived=true", "e"),
        ("state=archived&archived=false", ""),
        ("state=partial&archived=true", ""),
        ("state=killed&enabled=false", "b"),
        ("state=killed&enabled=true", ""),
        ("q=a&group=checkout", "ab"),
        ("group=checkout&skip=1", "b"),
    ],
)
def test_a_list_is_narrowed_by_group_switch_and_archive(
    several: None, send: Send, query: str, names: str
) -> None:
    found = send("GET", f"?{query}", Role.VIEWER).get_json()
    assert "".join(flag["name"][0] for flag in found["items"]) == names
    assert found["total"] == len(names) + ("skip" in query)


@pytest.mark.parametrize("name", ["enabled", "archived", "stale"])
@pytest.mark.parametrize("value", ["yes", "1", "True", "true%20"])
def test_a_filter_is_true_or_false(send: Send, name: str, value: str) -> None:
    answer = send("GET", f"?{name}={value}")
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [name])


@pytest.fixture
def segment(app: Flask, now: datetime) -> None:
    """A segment of the grown."""
    grown = Condition(attribute="age", operator=Operator.GTE, values=("18",))
    with app.app_context(), transaction() as session:
        trace = Trace(COMMAND, now, "r")
        create_segment(session, SegmentDraft(name="grown", conditions=(grown,)), trace)
        create_group(session, GroupDraft(name="checkout"), trace)


RULE = {
    "name": "large",
    "conditions": [{"attribute": "seats", "operator": "in", "values": [50, 99.5, True, "many"]}],
    "segments": ["grown"],
    "percentage": 100,
}
VARIANTS = [{"name": "red", "weight": 1, "value": {"shade": 7}}, {"name": "none", "weight": 0}]


def test_rules_variants_and_prerequisites_are_changed_and_decide(
    flag: None, segment: None, send: Send
) -> None:
    send("POST", json={"name": "other", "enabled": True, "percentage": 100})
    body = {
        "rules": [RULE],
        "variants": VARIANTS,
        "prerequisites": [{"flag": "other"}],
        "group": "checkout",
        "percentage": 0,
        "reason": "r",
    }
    changed = send("PUT", "/ui.beta", json=body)
    assert changed.status_code == 200
    stored = send("GET", "/ui.beta").get_json()
    assert stored == changed.get_json()
    texts = ["50", "99.5", "true", "many"]
    condition = {"attribute": "seats", "operator": "in", "values": texts, "negate": False}
    assert stored["rules"] == [RULE | {"conditions": [condition], "percentage": 100.0}]
    assert stored["variants"] == [VARIANTS[0], VARIANTS[1] | {"value": None}]
    assert stored["prerequisites"] == [{"flag": "other", "enabled": True}]
    assert stored["group"] == "checkout"
    for seats, reason in ((50, "rule"), ("50", "rule"), (True, "rule"), (51, "nobody")):
        asked = {"user_id": "u", "environment": "production"}
        attributes = {"seats": seats, "age": 18}
        answer = send("POST", "/ui.beta/evaluate", json=asked | {"attributes": attributes})
        assert answer.get_json()["reason"] == reason
        if reason == "rule":
            decided = answer.get_json()
            named = (decided["rule"], decided["variant"], decided["value"])
            assert named == ("large", "red", {"shade": 7})
        told = send("POST", "/ui.beta/explain", json=asked | {"attributes": attributes})
        assert told.get_json()["reason"] == reason
    # The same values, numbers as texts, change nothing.
    again = body | {"rules": stored["rules"], "variants": stored["variants"]}
    assert send("PUT", "/ui.beta", json=again).get_json()["version"] == stored["version"]
    send("PUT", "/other", json={"enabled": False, "reason": "r"})
    answer = send("POST", "/ui.beta/evaluate", json={"user_id": "u"})
    assert answer.get_json()["reason"] == "prerequisite"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rules": [RULE | {"segments": ["gone"]}]}, "rules"),
        ({"rules": [RULE, RULE]}, "rules"),
        ({"rules": [RULE | {"percentage": 101}]}, "rules"),
        ({"rules": [RULE | {"percentage": "5"}]}, "rules.0.percentage"),
        ({"rules": [{"name": "r", "segments": ["grown"]}]}, "rules.0.percentage"),
        ({"rules": [RULE | {"conditions": [{}]}]}, "rules.0.conditions.0.attribute"),
        ({"rules": [RULE | {"colour": "red"}]}, "rules.0.colour"),
        ({"rules": {}}, "rules"),
        ({"variants": [VARIANTS[1]]}, "variants"),
        ({"variants": [VARIANTS[0] | {"weight": 1.5}]}, "variants.0.weight"),
        ({"variants": [VARIANTS[0] | {"weight": -1}]}, "variants"),
        ({"variants": [VARIANTS[0] | {"value": 2**64}]}, "variants"),
        ({"prerequisites": [{"flag": "gone"}]}, "prerequisites"),
        ({"prerequisites": [{"flag": "ui.beta"}]}, "prerequisites"),
        ({"prerequisites": [{"flag": "ui.beta", "enabled": None}]}, "prerequisites.0.enabled"),
        ({"group": "gone"}, "group"),
        ({"group": 7}, "group"),
    ],
)
def test_a_part_that_is_refused_names_its_field_and_saves_nothing(
    flag: None, segment: None, send: Send, body: dict[str, Any], field: str
) -> None:
    answer = send("PUT", "/ui.beta", json=body | {"reason": "r"})
    assert answer.status_code == 422
    assert field in answer.get_json()["errors"]
    assert send("GET", "/ui.beta").get_json()["version"] == 1


@pytest.mark.parametrize("field", ["rules", "variants", "prerequisites", "group"])
def test_what_a_flag_is_made_of_is_an_admins(flag: None, send: Send, field: str) -> None:
    body: dict[str, Any] = {field: None if field == "group" else [], "reason": "r"}
    assert send("PUT", "/ui.beta", Role.OPERATOR, json=body).status_code == 403
    assert send("PUT", "/ui.beta", json=body).status_code == 200

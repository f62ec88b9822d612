"""Flags carried over as JSON: a round trip changes nothing, and an import is all or nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from tests.flags.conftest import Send
from webapp.actors import COMMAND
from webapp.db import reading, transaction
from webapp.flags.queries import read_revision
from webapp.flags.service import archive_flag, create_flag
from webapp.flags.values import FlagDraft
from webapp.roles import Role

FORMAT = "switchyard.feature-flags/1"
JSON = "application/json"
DRAFTS = [
    FlagDraft(name="z.plain"),
    FlagDraft(
        name="ui.beta",
        description="Ünïcode\nin two lines",
        enabled=True,
        percentage=12.34,
        whitelist=tuple(f"user-{number}" for number in range(1_000)),
        blacklist=("b", "ä"),
        environments=("staging", "production"),
        environment_overrides={"staging": True, "demo": 1.0, "production": 0.01},
        starts_at=datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=UTC),
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
        stickiness="shared",
        tags=("ui", "beta"),
        metadata={"z": 1, "a": {"deep": [1.5, None, True]}},
    ),
    FlagDraft(name="ui-old", enabled=True, percentage=100, tags=("ui",)),
]


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """A plain one, one with something of everything, and one that is archived."""
    with app.app_context(), transaction() as session:
        for draft in DRAFTS:
            create_flag(session, draft, by=COMMAND, now=now, reason="first")
        archive_flag(session, "ui-old", by=COMMAND, now=now, reason="over")


def document(*flags: Any) -> dict[str, Any]:
    return {"format": FORMAT, "flags": list(flags)}


def listed(send: Send) -> list[Any]:
    archived = send("GET", "?state=archived").get_json()["items"]
    return [*send("GET").get_json()["items"], *archived]


def test_an_export_is_the_whole_state_in_a_stable_order(send: Send) -> None:
    answer = send("GET", "/export", Role.VIEWER)
    body = answer.get_json()
    assert body["format"] == FORMAT
    assert [(flag["name"], flag["archived"]) for flag in body["flags"]] == [
        ("ui-old", True),
        ("ui.beta", False),
        ("z.plain", False),
    ]
    assert body["flags"][1]["starts_at"] == "2026-01-01T01:02:03.456789Z"
    assert send("GET", "/export").data == answer.data
    assert "attachment" in answer.headers["Content-Disposition"]


def test_importing_an_export_changes_nothing(send: Send, app: Flask) -> None:
    exported, before = send("GET", "/export"), listed(send)
    with app.app_context(), reading() as session:
        revision = read_revision(session)
    answer = send("POST", "/import?reason=back", data=exported.data, content_type=JSON)
    assert answer.status_code == 200
    assert answer.get_json()["counts"] == {
        "created": 0,
        "updated": 0,
        "unchanged": 3,
        "refused": 0,
    }
    assert listed(send) == before
    with app.app_context(), reading() as session:
        assert read_revision(session) == revision


def test_an_export_makes_the_same_flags_anew(send: Send) -> None:
    exported = send("GET", "/export")
    for flag in exported.get_json()["flags"]:
        send("DELETE", f"/{flag['name']}?reason=r")
        assert send("DELETE", f"/{flag['name']}?reason=r&purge=true").status_code == 204
    answer = send("POST", "/import?reason=moved", data=exported.data, content_type=JSON)
    assert answer.get_json()["counts"]["created"] == 3
    assert send("GET", "/export").data == exported.data
    entries = send("GET", "/ui.beta/audit").get_json()["items"]
    assert (entries[0]["action"], entries[0]["reason"]) == ("flag.created", "moved")


def test_a_dry_run_tells_what_the_import_would_do_and_does_nothing(send: Send) -> None:
    wanted = document(
        {"name": "z.plain", "percentage": 50, "tags": ["x"]},
        {"name": "made.anew", "enabled": True},
        {"name": "ui.beta", "percentage": 12.34},
    ) | {"reason": "in the body"}
    before = send("GET", "/export").data
    told = send("POST", "/import?dry_run=true", json=wanted).get_json()
    assert send("GET", "/export").data == before
    assert told["dry_run"] is True
    assert told["flags"]["z.plain"] == {
        "outcome": "updated",
        "changes": {"percentage": {"old": 0.0, "new": 50.0}, "tags": {"old": [], "new": ["x"]}},
        "errors": {},
    }
    assert told["flags"]["made.anew"]["outcome"] == "created"
    assert told["flags"]["ui.beta"]["outcome"] == "unchanged"
    done = send("POST", "/import?dry_run=false", json=wanted).get_json()
    assert done == told | {"dry_run": False}
    entry = send("GET", "/z.plain/audit").get_json()["items"][0]
    assert (entry["action"], entry["reason"]) == ("flag.updated", "in the body")
    answer = send("POST", "/made.anew/evaluate", json={"user_id": "u"}).get_json()
    assert answer["reason"] == "nobody"


def test_one_refused_flag_keeps_all_others_out(send: Send) -> None:
    wanted = document(
        {"name": "z.plain", "percentage": 50},
        {"name": "Bad Name"},
        {"name": "over", "percentage": 101},
        {"name": "odd", "colour": "red", "percentage": "5"},
        {"percentage": 1},
        7,
        {"name": "twice"},
        {"name": "twice", "enabled": True},
        {"name": "export"},
    )
    before = send("GET", "/export").data
    answer = send("POST", "/import?reason=r", json=wanted)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert set(answer.get_json()["errors"]) == {
        *("Bad Name", "over", "odd", "flags.4", "flags.5", "twice", "export"),
    }
    assert answer.get_json()["errors"]["over"] == ["percentage: Must be from 0 to 100."]
    assert send("GET", "/export").data == before
    dry = send("POST", "/import?reason=r&dry_run=true", json=wanted).get_json()
    assert dry["counts"] == {"created": 0, "updated": 1, "unchanged": 0, "refused": 7}
    assert set(dry["flags"]["odd"]["errors"]) == {"colour", "percentage"}


def test_an_import_archives_restores_and_changes_what_is_archived(send: Send) -> None:
    wanted = document({"name": "z.plain", "archived": True}, {"name": "ui-old", "archived": False})
    told = send("POST", "/import?reason=r", json=wanted).get_json()["flags"]
    assert told["z.plain"]["changes"] == {"archived": {"old": False, "new": True}}
    assert send("GET", "/z.plain").get_json()["archived_at"] is not None
    assert send("GET", "/ui-old").get_json()["archived_at"] is None
    # What an import does not say of a flag stays so.
    wanted = document({"name": "z.plain", "percentage": 5})
    assert send("POST", "/import?reason=r", json=wanted).status_code == 200
    flag = send("GET", "/z.plain").get_json()
    assert (flag["percentage"], flag["archived_at"] is None) == (5.0, False)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/import?reason=r", {"format": "other", "flags": []}, 422),
        ("/import?reason=r", {"flags": []}, 422),
        ("/import?reason=r", {"format": FORMAT, "flags": {}}, 422),
        ("/import?reason=r&dry_run=1", {"format": FORMAT, "flags": []}, 422),
        ("/import", {"format": FORMAT, "flags": []}, 422),
        ("/import?reason=r", {"format": FORMAT, "flags": []}, 200),
        ("/import?reason=r", [], 400),
    ],
)
def test_what_is_no_import_is_refused(send: Send, path: str, body: Any, status: int) -> None:
    assert send("POST", path, json=body).status_code == status


def test_deep_and_great_values_are_refused_by_name(send: Send) -> None:
    deep: Any = 1
    for _ in range(50):
        deep = {"a": deep}
    wanted = document(
        {"name": "deep", "metadata": deep}, {"name": "great", "metadata": {"a": 10**20}}
    )
    answer = send("POST", "/import?reason=r", data=json.dumps(wanted), content_type=JSON)
    assert set(answer.get_json()["errors"]) == {"deep", "great"}


def test_an_import_may_be_larger_than_other_bodies(send: Send) -> None:
    ids = [f"subject-{number:0240}" for number in range(10_000)]
    wanted = document({"name": "large", "whitelist": ids})
    assert send("POST", "/import?reason=r", json=wanted).status_code == 200
    exported = send("GET", "/export")
    assert len(exported.data) > 2 * 1024 * 1024
    # Only JSON, and only here.
    assert send("POST", "/import?reason=r", data={"flags": "x" * 2**21}).status_code == 413
    assert send("PUT", "/large", json={"whitelist": ids, "reason": "r"}).status_code == 413
    again = send("POST", "/import?reason=r", data=exported.data, content_type=JSON)
    assert again.get_json()["counts"]["unchanged"] == 4


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_import(send: Send, role: Role) -> None:
    assert send("POST", "/import?reason=r", role, json=document()).status_code == 403


def test_an_import_reloads_the_flags_of_this_process_once(
    send: Send, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[int] = []
    store = type(app.extensions["flag_store"])
    monkeypatch.setattr(store, "refresh", lambda self: reloads.append(1))
    wanted = document(*({"name": f"flag{number}"} for number in range(20)))
    assert send("POST", "/import?reason=r", json=wanted).status_code == 200
    assert len(reloads) == 1

"""Flags carried over as JSON: a round trip changes nothing, and an import is all or nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from tests.flags.conftest import Send
from webapp.actors import COMMAND
from webapp.db import reading, transaction
from webapp.flags.models import FeatureFlag, FlagGroup, FlagRevision, FlagSegment
from webapp.flags.queries import read_revision
from webapp.flags.service import archive_flag, create_flag, restore_flag
from webapp.flags.shared import Trace, create_group, create_segment
from webapp.flags.values import (
    Condition,
    FlagDraft,
    GroupDraft,
    Operator,
    Prerequisite,
    Rule,
    SegmentDraft,
    Variant,
)
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


PRO = Condition(attribute="plan", operator=Operator.IN, values=("pro", "é"), negate=True)
GROUPS = [GroupDraft(name="z.last"), GroupDraft(name="checkout", description="Paying.\nÜ")]
SEGMENTS = [
    SegmentDraft(name="press", description="Who writes.", conditions=(PRO,)),
    SegmentDraft(
        name="grown",
        conditions=(Condition(attribute="age", operator=Operator.GTE, values=("18",)), PRO),
    ),
]
# By name, each builds on one that comes after it; "d" and "e" are archived.
TARGETED = [
    FlagDraft(name="e.base", enabled=True, percentage=100, group="z.last"),
    FlagDraft(name="d.middle", prerequisites=(Prerequisite(flag="e.base", enabled=False),)),
    FlagDraft(
        name="c.live",
        variants=(
            Variant(name="red", weight=1, value={"b": [1.5, None, True], "a": "ü"}),
            Variant(name="none", weight=0),
        ),
        rules=(
            Rule(name="z", conditions=(PRO,), segments=("press", "grown"), percentage=0.01),
            Rule(name="a", segments=("grown",), percentage=100.0),
        ),
        group="checkout",
    ),
    FlagDraft(name="b.builds", prerequisites=(Prerequisite(flag="c.live"),)),
    FlagDraft(
        name="a.both",
        prerequisites=(Prerequisite(flag="c.live", enabled=False), Prerequisite(flag="b.builds")),
    ),
]


@pytest.fixture
def targeted(app: Flask, now: datetime) -> None:
    """Groups, segments, and flags that build on each other, two of them archived."""
    trace = Trace(COMMAND, now, "r")
    with app.app_context(), transaction() as session:
        for group in GROUPS:
            create_group(session, group, trace)
        for segment in SEGMENTS:
            create_segment(session, segment, trace)
        for draft in TARGETED:
            create_flag(session, draft, **trace._asdict())
        for name in ("d.middle", "e.base"):
            archive_flag(session, name, **trace._asdict())


def empty(app: Flask) -> None:
    """Take everything away that an export holds."""
    with app.app_context(), transaction() as session:
        for model in (FeatureFlag, FlagSegment, FlagGroup, FlagRevision):
            session.execute(delete(model))


def names_in(body: Any, kind: str) -> list[str]:
    return [item["name"] for item in body[kind]]


def outcomes(body: Any, kind: str) -> dict[str, str]:
    return {name: item["outcome"] for name, item in body[kind].items()}


def test_the_whole_state_goes_into_an_empty_database_and_comes_out_the_same(
    targeted: None, send: Send, app: Flask
) -> None:
    exported = send("GET", "/export")
    body = exported.get_json()
    assert list(body) == ["format", "groups", "segments", "flags"]
    assert names_in(body, "groups") == ["checkout", "z.last"]
    assert names_in(body, "segments") == ["grown", "press"]
    empty(app)
    assert names_in(send("GET", "/export").get_json(), "flags") == []
    answer = send("POST", "/import?reason=moved", data=exported.data, content_type=JSON)
    assert answer.status_code == 200
    told = answer.get_json()
    for kind, number in (("groups", 2), ("segments", 2), ("flags", 8)):
        assert outcomes(told, kind) == dict.fromkeys(names_in(body, kind), "created")
        assert len(told[kind]) == number
    assert send("GET", "/export").data == exported.data
    again = send("POST", "/import?reason=again", data=exported.data, content_type=JSON).get_json()
    for kind in ("groups", "segments", "flags"):
        assert set(outcomes(again, kind).values()) == {"unchanged"}
    assert again["counts"] == {"created": 0, "updated": 0, "unchanged": 8, "refused": 0}
    entry = send("GET", "/a.both/audit").get_json()["items"][0]
    assert (entry["action"], entry["reason"]) == ("flag.created", "moved")


def test_a_dry_run_into_an_empty_database_tells_the_same_and_makes_nothing(
    targeted: None, send: Send, app: Flask
) -> None:
    exported = send("GET", "/export")
    empty(app)
    nothing = send("GET", "/export").data
    url = "/import?reason=r&dry_run="
    dry = send("POST", f"{url}true", data=exported.data, content_type=JSON).get_json()
    assert send("GET", "/export").data == nothing
    done = send("POST", f"{url}false", data=exported.data, content_type=JSON).get_json()
    assert done == dry | {"dry_run": False}


def test_groups_and_segments_are_changed_and_those_not_named_stay(
    targeted: None, send: Send
) -> None:
    condition = {"attribute": "age", "operator": "gte", "values": [21]}
    wanted = document({"name": "c.live", "rules": []}) | {
        "groups": [{"name": "checkout", "description": "Paying."}, {"name": "new"}],
        "segments": [
            {"name": "grown", "conditions": [condition]},
            {"name": "young", "conditions": [condition | {"operator": "lt"}]},
        ],
    }
    told = send("POST", "/import?reason=r", json=wanted).get_json()
    assert outcomes(told, "groups") == {"checkout": "updated", "new": "created"}
    assert outcomes(told, "segments") == {"grown": "updated", "young": "created"}
    changes = told["segments"]["grown"]["changes"]["conditions"]
    assert changes["new"] == [condition | {"values": ["21"], "negate": False}]
    body = send("GET", "/export").get_json()
    assert names_in(body, "groups") == ["checkout", "new", "z.last"]
    assert names_in(body, "segments") == ["grown", "press", "young"]
    (live,) = (flag for flag in body["flags"] if flag["name"] == "c.live")
    assert (live["rules"], len(live["variants"])) == ([], 2)


def test_flags_come_behind_those_that_they_build_on_whatever_their_order(send: Send) -> None:
    chain = [
        {"name": f"flag{number}", "prerequisites": [{"flag": f"flag{number + 1}"}]}
        for number in range(30)
    ]
    wanted = document(*chain, {"name": "flag30"})
    answer = send("POST", "/import?reason=r", json=wanted)
    assert answer.get_json()["counts"]["created"] == 31
    # Turned round, each for itself would close a circle for a while.
    turned = document(
        {"name": "flag0", "prerequisites": []},
        *(
            {"name": f"flag{number + 1}", "prerequisites": [{"flag": f"flag{number}"}]}
            for number in range(30)
        ),
    )
    answer = send("POST", "/import?reason=r", json=turned)
    assert answer.get_json()["counts"]["updated"] == 31


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_circle_is_refused_and_nothing_is_imported(send: Send, length: int) -> None:
    names = [f"flag{number}" for number in range(length)]
    circle = [
        {"name": name, "prerequisites": [{"flag": names[(number + 1) % length]}]}
        for number, name in enumerate(names)
    ]
    before = send("GET", "/export").data
    wanted = document({"name": "alone"}, *circle)
    answer = send("POST", "/import?reason=r", json=wanted)
    assert (answer.status_code, set(answer.get_json()["errors"])) == (422, set(names))
    assert send("GET", "/export").data == before
    # Among flags that stand already, the one that closes it is named, with the way round.
    stand = document(*({"name": name} for name in names))
    assert send("POST", "/import?reason=r", json=stand).status_code == 200
    answer = send("POST", "/import?reason=r", json=wanted)
    (messages,) = answer.get_json()["errors"].values()
    assert messages[0].startswith("prerequisites: Leads in a circle: ")
    assert all(name in messages[0] for name in names)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("segments", {"conditions": []}, "conditions: At least one condition."),
        ("segments", {}, "conditions: Field required"),
        ("segments", {"colour": 1}, "colour: Extra inputs are not permitted"),
        ("groups", {"description": 7}, "description: Input should be a valid string"),
        ("groups", {"description": "d" * 2_001}, "description: At most 2,000 characters"),
    ],
)
def test_what_is_refused_keeps_everything_out_and_bears_its_kind(
    targeted: None, send: Send, kind: str, wrong: dict[str, Any], message: str
) -> None:
    before = send("GET", "/export").data
    uses = {"rules": [{"name": "r", "segments": ["odd"], "percentage": 1}], "group": "odd"}
    wanted = document({"name": "z.plain", "percentage": 50}, {"name": "uses", **uses})
    wanted |= {"groups": [{"name": "good"}], kind: [{"name": "odd", **wrong}]}
    answer = send("POST", "/import?reason=r", json=wanted)
    assert answer.status_code == 422
    errors = answer.get_json()["errors"]
    # The flag that uses it is refused with it, under its own name.
    assert set(errors) == {f"{kind}.odd", "uses"}
    assert any(text.startswith(message) for text in errors[f"{kind}.odd"])
    assert send("GET", "/export").data == before
    dry = send("POST", "/import?reason=r&dry_run=true", json=wanted).get_json()
    assert outcomes(dry, kind)["odd"] == "refused"
    assert outcomes(dry, "flags") == {"uses": "refused", "z.plain": "updated"}


def test_one_that_is_named_twice_or_has_no_name_is_refused(send: Send) -> None:
    wanted = document() | {"groups": [{"name": "g"}, {"name": "g"}], "segments": [{}, 7]}
    answer = send("POST", "/import?reason=r", json=wanted)
    assert set(answer.get_json()["errors"]) == {
        "groups.g",
        "segments.segments.0",
        "segments.segments.1",
    }


def test_what_builds_on_each_other_is_archived_and_brought_back_together(
    targeted: None, send: Send
) -> None:
    chain = ("a.both", "b.builds", "c.live")
    exported = send("GET", "/export").get_json()["flags"]
    whole = [flag for flag in exported if flag["name"] in chain]
    for flags in (whole, whole[::-1], [{"name": name} for name in chain]):
        for archived in (True, False):
            wanted = document(*(flag | {"archived": archived} for flag in flags))
            answer = send("POST", "/import?reason=r", json=wanted)
            assert answer.status_code == 200, answer.get_json()
            assert set(outcomes(answer.get_json(), "flags").values()) == {"updated"}
            for name in chain:
                stored = send("GET", f"/{name}").get_json()
                assert (stored["archived_at"] is not None) is archived


def test_a_flag_in_use_that_builds_on_an_archived_one_is_carried_over(
    targeted: None, send: Send, app: Flask, now: datetime
) -> None:
    with app.app_context(), transaction() as session:
        restore_flag(session, "d.middle", by=COMMAND, now=now, reason="r")
    exported = send("GET", "/export")
    empty(app)
    answer = send("POST", "/import?reason=r", data=exported.data, content_type=JSON)
    assert answer.status_code == 200
    assert send("GET", "/export").data == exported.data


def test_one_is_archived_as_others_let_go_of_it(targeted: None, send: Send) -> None:
    wanted = document(
        {"name": "c.live", "archived": True},
        {"name": "a.both", "prerequisites": []},
        {"name": "b.builds", "prerequisites": []},
    )
    assert send("POST", "/import?reason=r", json=wanted).status_code == 200
    assert send("GET", "/c.live").get_json()["archived_at"] is not None


def test_one_that_others_in_use_build_on_is_not_archived(targeted: None, send: Send) -> None:
    before = send("GET", "/export").data
    wanted = document({"name": "c.live", "archived": True}, {"name": "a.both", "archived": True})
    answer = send("POST", "/import?reason=r", json=wanted)
    assert set(answer.get_json()["errors"]) == {"c.live"}
    assert send("GET", "/export").data == before

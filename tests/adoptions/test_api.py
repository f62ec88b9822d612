"""Flags of other systems over JSON: reported first, then taken over, all or nothing."""

from typing import Any, Final

import pytest

from tests.adoptions.test_from_flagd import PRO, boolean
from tests.adoptions.test_from_unleash import EXPORT
from tests.flags.conftest import Send
from tests.flags.conftest import send as send  # noqa: PLC0414  # a fixture
from webapp.roles import Role

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

UNLEASH: Final = "/import/unleash"
FLAGD: Final = "/import/flagd"
FILE: Final[dict[str, Any]] = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "flags": {
        "shop.new": boolean({"if": [PRO, "on", "off"]}),
        "shop.half": boolean({"fractional": [["on", 50], ["off", 50]]}),
        "Odd Name": boolean(),
    },
}


def test_a_dry_run_reports_what_would_be_and_saves_nothing(send: Send) -> None:
    answer = send("POST", f"{FLAGD}?dry_run=true&reason=r", json=FILE)
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    counts = {"created": 2, "updated": 0, "unchanged": 0, "refused": 0, "left_out": 1}
    assert (told["dry_run"], told["counts"]) == (True, counts)
    assert list(told["flags"]) == ["shop.half", "shop.new"]
    half = told["flags"]["shop.half"]
    assert (half["outcome"], half["errors"], len(half["notes"])) == ("created", {}, 1)
    assert half["changes"]["percentage"] == {"old": 0.0, "new": 50.0}
    assert list(told["left_out"]) == ["Odd Name"]
    assert send("GET").get_json()["total"] == 0
    done = send("POST", f"{FLAGD}?reason=Moved", json=FILE).get_json()
    assert done == told | {"dry_run": False}
    assert send("GET", "/shop.new").get_json()["rules"][0]["percentage"] == 100.0
    entry = send("GET", "/shop.new/audit").get_json()["items"][0]
    assert (entry["action"], entry["reason"]) == ("flag.created", "Moved")
    again = send("POST", f"{FLAGD}?reason=r", json=FILE).get_json()
    assert again["counts"]["unchanged"] == 2


def test_an_export_of_unleash_is_taken_over_for_its_environment(send: Send) -> None:
    answer = send("POST", f"{UNLEASH}?reason=r&environment=development", json=EXPORT)
    told = answer.get_json()
    assert told["counts"]["created"] == 2
    assert set(told["left_out"]) == {"old", "CamelCase", "grandchild", "export"}
    checkout = send("GET", "/checkout").get_json()
    assert (checkout["environments"], checkout["tags"]) == (["development"], ["user-facing"])
    assert send("GET", "/child").get_json()["prerequisites"] == [
        {"flag": "checkout", "enabled": True}
    ]


def test_what_is_refused_keeps_everything_out(send: Send) -> None:
    # Its parent is neither in the document nor here.
    lonely = {
        "features": [
            {"name": "a.fine", "enabled": True},
            {"name": "b.lonely", "dependencies": [{"feature": "gone"}]},
        ]
    }
    dry = send("POST", f"{UNLEASH}?dry_run=true&reason=r", json=lonely).get_json()
    assert dry["flags"]["b.lonely"]["outcome"] == "refused"
    answer = send("POST", f"{UNLEASH}?reason=r", json=lonely)
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == {"b.lonely": ["prerequisites: There is no flag gone."]}
    assert send("GET").get_json()["total"] == 0
    assert send("POST", "", json={"name": "gone"}).status_code == 201
    assert send("POST", f"{UNLEASH}?reason=r", json=lonely).status_code == 200


REFUSED: Final[dict[str, tuple[str, Any, int, str]]] = {
    "no reason": (UNLEASH, {"features": []}, 422, "reason"),
    "a list": (f"{UNLEASH}?reason=r", [], 400, ""),
    "no features": (f"{UNLEASH}?reason=r", {}, 422, "features"),
    "features as a map": (f"{UNLEASH}?reason=r", {"features": {}}, 422, "features"),
    "a feature without a name": (f"{UNLEASH}?reason=r", {"features": [{}]}, 422, "features.0.name"),
    "NUL in a name": (
        f"{UNLEASH}?reason=r",
        {"features": [{"name": "a\0b"}]},
        422,
        "features.0.name",
    ),
    "maybe dry": (f"{UNLEASH}?reason=r&dry_run=1", {"features": []}, 422, "dry_run"),
    "no flags": (f"{FLAGD}?reason=r", {}, 422, "flags"),
    "flags as a list": (f"{FLAGD}?reason=r", {"flags": []}, 422, "flags"),
    "no state": (f"{FLAGD}?reason=r", {"flags": {"a": {"variants": {}}}}, 422, "flags.a.state"),
    "odd environment": (
        f"{UNLEASH}?reason=r&environment=No+Word",
        {"features": [{"name": "a"}]},
        200,
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_the_field_named(
    send: Send, case: tuple[str, Any, int, str]
) -> None:
    path, body, status, field = case
    answer = send("POST", path, json=body)
    assert answer.status_code == status, answer.text
    if field:
        assert field in answer.get_json()["errors"]
    assert send("GET").get_json()["total"] == 0


@pytest.mark.parametrize("path", [UNLEASH, FLAGD])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_take_over(send: Send, path: str, role: Role) -> None:
    assert send("POST", f"{path}?reason=r", role, json={"features": []}).status_code == 403

"""Channels over JSON."""

from typing import Any

import pytest

from tests.conftest import ConsoleClient

URL = "jsons://ada:hunter2@hooks.example.com/hush"
GOOD = {"name": "on-call", "url": URL, "reason": "Needed"}
PATH = "/api/v1/channels"


def test_a_channel_from_its_making_to_its_removal(admin: ConsoleClient) -> None:
    made = admin.post(PATH, json=GOOD)
    assert made.status_code == 201
    assert made.location == f"{PATH}/on-call"
    assert made.json is not None
    assert (made.json["kind"], made.json["place"]) == ("JSON", "jsons://hooks.example.com")
    assert made.json["created_at"].endswith("Z")
    changed = admin.patch(f"{PATH}/on-call", json={"enabled": False, "reason": "Quiet"})
    assert changed.json is not None
    assert (changed.json["state"], changed.json["version"]) == ("off", 2)
    listed = admin.get(PATH)
    assert listed.json is not None
    assert [item["name"] for item in listed.json["items"]] == ["on-call"]
    assert "hush" not in made.text + changed.text + listed.text
    test = admin.post(f"{PATH}/on-call/test")
    assert test.status_code == 202
    assert test.json is not None
    assert test.location == f"/api/v1/queue/jobs/{test.json['job_id']}"
    assert admin.delete(f"{PATH}/on-call", json={"reason": "Gone"}).status_code == 204
    assert admin.get(f"{PATH}/on-call").status_code == 404


def test_the_same_name_twice_is_a_conflict(admin: ConsoleClient) -> None:
    admin.post(PATH, json=GOOD)
    assert admin.post(PATH, json=GOOD).status_code == 409


def test_a_change_of_an_older_version_is_a_conflict(admin: ConsoleClient) -> None:
    admin.post(PATH, json=GOOD)
    admin.patch(f"{PATH}/on-call", json={"enabled": False, "reason": "Quiet"})
    late = admin.patch(f"{PATH}/on-call", json={"enabled": True, "reason": "x", "version": 1})
    assert late.status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a"},
        GOOD | {"name": "A"},
        GOOD | {"name": 7},
        GOOD | {"name": "a\0"},
        GOOD | {"url": ""},
        GOOD | {"url": "\ud800"},
        GOOD | {"url": "json://10.0.0.7/"},
        GOOD | {"enabled": "yes"},
        GOOD | {"reason": ""},
        GOOD | {"more": 1},
    ],
)
def test_odd_bodies_are_refused(admin: ConsoleClient, body: dict[str, Any]) -> None:
    assert admin.post(PATH, json=body).status_code in {400, 422}
    listed = admin.get(PATH).json
    assert listed is not None
    assert listed["total"] == 0


@pytest.mark.parametrize("body", [{"url": ""}, {"enabled": None, "more": 1}, {"enabled": False}])
def test_odd_changes_are_refused(admin: ConsoleClient, body: dict[str, Any]) -> None:
    admin.post(PATH, json=GOOD)
    assert admin.patch(f"{PATH}/on-call", json=body).status_code == 422


def test_a_removal_wants_a_reason(admin: ConsoleClient) -> None:
    admin.post(PATH, json=GOOD)
    assert admin.delete(f"{PATH}/on-call").status_code == 422

"""Models over JSON, and what becomes of odd bodies and queries."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from tests.architecture.population import populate
from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_all, ask_with_each
from webapp.db import db, will_write

API = "/api/v1/models"
GOOD = {"source": "source0", "target": "kind"}


@pytest.fixture(autouse=True)
def populated(app: Flask, now: datetime) -> Iterator[None]:
    """Some models, the first with a challenger."""
    with app.app_context(), will_write():
        populate(db.session(), range(4), now=now)
        db.session.commit()
        yield


def body_of(client: ConsoleClient, path: str) -> dict[str, Any]:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    return dict(answer.json)


def test_models_are_listed_by_pages_and_by_source(viewer: ConsoleClient) -> None:
    first = body_of(viewer, "?limit=3")
    assert [item["id"] for item in first["items"]] == [4, 3, 2]
    assert first["total"] == 4
    second = viewer.get(first["next"]).json
    assert second is not None
    (model,) = second["items"]
    assert (model["source"], model["target"], model["versions"]) == ("source0", "kind", 2)
    assert (model["champion"]["number"], model["challenger"]["number"]) == (1, 2)
    assert body_of(viewer, "?source=source1")["total"] == 1
    assert body_of(viewer, "/1") == model


def test_a_version_tells_all_that_is_known_of_it(viewer: ConsoleClient) -> None:
    (newest, oldest) = body_of(viewer, "/1/versions")["items"]
    assert (newest["state"], oldest["state"]) == ("candidate", "champion")
    whole = body_of(viewer, f"/versions/{oldest['id']}")
    assert whole["metrics"] == {"balanced_accuracy": 0.9, "accuracy": 0.92}
    assert whole["features"] == [{"name": "size", "kind": "number", "gaps": False}]
    assert whole["score"] == whole["metrics"][whole["metric"]]
    assert whole["trained_at"].endswith("Z")


def test_predictions_name_their_version_and_are_found_by_record(viewer: ConsoleClient) -> None:
    (found,) = body_of(viewer, "/versions/1/predictions")["items"]
    assert found == {
        "key": "0",
        "value": "large",
        "probability": 0.75,
        "version": 1,
        "run_id": 1,
        "predicted_at": found["predicted_at"],
    }
    assert body_of(viewer, "/versions/1/predictions?key=0")["total"] == 1
    assert body_of(viewer, "/versions/1/predictions?key=1")["total"] == 0


def test_runs_tell_what_was_rejected_and_why(viewer: ConsoleClient) -> None:
    (found,) = body_of(viewer, "/1/runs")["items"]
    assert (found["champion"], found["challenger"]) == (1, 2)
    assert found["rejections"] == {"It lacks the field size.": 1}


def test_trainings_and_predictions_are_jobs(operator: ConsoleClient) -> None:
    for path, body in (("", GOOD), ("/1/runs", None)):
        answer = operator.post(f"{API}{path}", json=body) if body else operator.post(f"{API}{path}")
        assert answer.status_code == 202
        assert answer.json is not None
        assert answer.location == f"/api/v1/queue/jobs/{answer.json['job_id']}"


def test_an_operator_decides_from_a_revision(operator: ConsoleClient) -> None:
    url = f"{API}/versions/2/promote"
    assert operator.post(url, json={"reason": "Good", "revision": 9}).status_code == 409
    done = operator.post(url, json={"reason": "Good", "revision": 1})
    assert done.json is not None
    assert (done.json["state"], done.json["revision"]) == ("champion", 2)
    assert body_of(operator, "/versions/1")["state"] == "retired"
    assert operator.post(f"{API}/versions/2/retire", json={"reason": "Bad"}).status_code == 200
    assert body_of(operator, "/1")["champion"] is None


def test_a_viewer_only_reads(viewer: ConsoleClient) -> None:
    for path in ("", "/1/runs", "/versions/1/promote", "/versions/1/retire"):
        assert viewer.post(f"{API}{path}", json={"reason": "Please"}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"source": "source0"},
        GOOD | {"source": "gone"},
        GOOD | {"algorithm": "magic"},
        GOOD | {"task": "poetry"},
        GOOD | {"fields": ["kind"]},
        GOOD | {"fields": "size"},
        GOOD | {"fields": ["a\0"]},
        GOOD | {"fields": [f"f{number}" for number in range(201)]},
        GOOD | {"held_out_share": 0.9},
        GOOD | {"held_out_share": "0.2"},
        GOOD | {"seed": -1},
        GOOD | {"seed": 2**31},
        GOOD | {"more": 1},
    ],
)
def test_odd_bodies_are_refused(operator: ConsoleClient, body: dict[str, Any]) -> None:
    assert operator.post(API, json=body).status_code == 422


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "x" * 501}, {"revision": "1"}])
def test_a_decision_needs_its_reason(operator: ConsoleClient, body: dict[str, Any]) -> None:
    assert operator.post(f"{API}/versions/2/promote", json=body).status_code == 422


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_and_search_is_answered(operator: ConsoleClient, odd: bytes) -> None:
    names = ("source", "target", "algorithm", "task", "fields", "held_out", "seed")
    good: Fields = {"source": "source0", "target": "kind", "held_out": "20"}
    ask_with_each(operator.send_form, ["/models"], good, names, odd)
    for verb in ("promote", "retire"):
        url = f"/models/versions/2/{verb}"
        ask_with_each(operator.send_form, [url], {"reason": "Needed"}, ("revision", "reason"), odd)
    for path in ("/models", "/models/new", "/models/versions/1", "/models/1", API):
        searched = ("source", "target", "key", "q", "before", "after")
        ask_with_all(operator.look_for, path, {}, searched, odd)

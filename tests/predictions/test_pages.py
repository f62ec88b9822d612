"""The pages of models: trained from a form, decided about by an operator, predicted from."""

import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.architecture.population import populate
from tests.conftest import ConsoleClient
from webapp.audit.service import history
from webapp.db import db, reading, transaction, will_write
from webapp.jobs.models import Job
from webapp.logs import MASK
from webapp.predictions.models import ModelVersion
from webapp.sources.models import Record

FORM = {
    "source": "source0",
    "target": "kind",
    "algorithm": "",
    "task": "",
    "held_out": "20",
    "seed": "0",
}
# The first model has a champion and a challenger.
CHAMPION, CHALLENGER = 1, 2


@pytest.fixture(autouse=True)
def populated(app: Flask, now: datetime) -> Iterator[None]:
    """Some models; the jobs that made them are over."""
    with app.app_context(), will_write():
        populate(db.session(), range(3), now=now)
        db.session.execute(
            update(Record).values(raw={"id": "1", "kind": "large", "size": "7", "tags": ["a"]})
        )
        db.session.commit()
        yield


def states(app: Flask) -> dict[int, str]:
    with reading() as session:
        rows = session.execute(select(ModelVersion.id, ModelVersion.state))
        return {row.id: row.state for row in rows if row.id in {CHAMPION, CHALLENGER}}


def newest_job() -> Job:
    with reading() as session:
        return session.scalars(select(Job).order_by(Job.id.desc())).first()  # type: ignore[return-value]


def test_the_list_shows_who_predicts_and_can_be_narrowed_to_a_source(viewer: ConsoleClient) -> None:
    whole = viewer.get("/models").text
    assert whole.count('id="model-') == 3
    assert "Version 2" in whole
    one = viewer.get("/models?source=source1").text
    assert one.count('id="model-') == 1
    assert "No model of nobody" in viewer.get("/models?source=nobody").text
    assert ">Train<" not in whole


def test_the_source_and_the_menu_lead_to_the_models(viewer: ConsoleClient) -> None:
    source = viewer.get("/sources/source0").text
    assert 'href="/models?source=source0"' in source
    assert re.search(r'href="/models"[^>]*>', source)


def test_a_model_shows_its_versions_and_runs(viewer: ConsoleClient) -> None:
    page = viewer.get("/models/1").text
    assert page.count('id="version-') == 2
    assert "It lacks the field size." in page
    assert "Balanced accuracy" in page
    assert viewer.get("/models/99").status_code == 404
    assert viewer.get("/models/versions/99").status_code == 404


def test_a_version_shows_its_figures_fields_and_predictions(viewer: ConsoleClient) -> None:
    page = viewer.get(f"/models/versions/{CHAMPION}").text
    for words in ("0.9000", "is the key", "better than guessing", "large", "75 %"):
        assert words in page, words
    assert (
        "No prediction of this record" in viewer.get(f"/models/versions/{CHAMPION}?q=nobody").text
    )
    part = viewer.htmx(f"/models/versions/{CHAMPION}?q=0", "predictions-predictions")
    assert part.text.lstrip().startswith("<section")
    assert 'id="prediction-' in part.text


def test_predictions_of_what_is_called_a_secret_are_masked(
    app: Flask, viewer: ConsoleClient
) -> None:
    with transaction() as session:
        version = session.get_one(ModelVersion, CHAMPION)
        session.execute(
            update(db.metadata.tables["models"])
            .where(db.metadata.tables["models"].c.id == version.model_id)
            .values(target="api_token")
        )
    page = viewer.get(f"/models/versions/{CHAMPION}?q=0").text
    assert "large" not in page
    assert MASK in page


def test_an_operator_promotes_with_a_reason_and_the_champion_is_retired(
    app: Flask, operator: ConsoleClient
) -> None:
    url = f"/models/versions/{CHALLENGER}/promote"
    asked = operator.post(url, data={"revision": "1"})
    assert asked.status_code == 422
    assert "Promote version 2?" in asked.text
    assert 'name="revision" value="1"' in asked.text
    assert states(app) == {CHAMPION: "champion", CHALLENGER: "candidate"}
    done = operator.post(url, data={"revision": "1", "reason": "It did well"})
    assert done.status_code == 303
    assert states(app) == {CHAMPION: "retired", CHALLENGER: "champion"}
    with reading() as session:
        entries = history(session, "model", "source0: kind")
    assert [(entry.action, entry.reason) for entry in entries] == [
        ("model.promoted", "It did well"),
        ("model.retired", "It did well"),
    ]


@pytest.mark.parametrize("verb", ["promote", "retire"])
def test_who_decides_over_what_another_has_decided_is_told(
    app: Flask, operator: ConsoleClient, verb: str
) -> None:
    with transaction() as session:
        session.get_one(ModelVersion, CHALLENGER).revision = 2
    told = operator.post(
        f"/models/versions/{CHALLENGER}/{verb}", data={"revision": "1", "reason": "Now"}
    )
    assert told.status_code == 409
    assert "meanwhile" in told.text
    assert states(app)[CHALLENGER] == "candidate"


def test_what_is_done_already_is_refused(app: Flask, operator: ConsoleClient) -> None:
    promote, retire = (f"/models/versions/{CHAMPION}/{verb}" for verb in ("promote", "retire"))
    assert operator.post(promote, data={"reason": "Again"}).status_code == 409
    assert operator.post(retire, data={"reason": "Wrong"}).status_code == 303
    assert operator.post(retire, data={"reason": "Again"}).status_code == 409
    assert "nothing is predicted" in operator.get("/models/1").text
    assert operator.post("/models/1/runs").status_code == 409


def test_the_form_enqueues_one_training_at_a_time(app: Flask, operator: ConsoleClient) -> None:
    shown = operator.get("/models/new?source=source0&target=kind").text
    assert re.search(r'<option value="kind" selected>', shown)
    assert 'value="size"' in shown
    made = operator.post("/models", data=FORM | {"fields": "size", "algorithm": "logistic"})
    assert made.status_code == 303
    job = newest_job()
    assert made.location == f"/jobs/{job.id}"
    assert job.type == "model_retraining"
    assert job.arguments == {
        "source": "source0",
        "target": "kind",
        "algorithm": "logistic",
        "task": None,
        "fields": ["size"],
        "held_out_share": 0.2,
        "seed": 0,
    }
    assert operator.post("/models", data=FORM).location == f"/jobs/{job.id}"


def test_without_a_source_the_form_asks_for_one(operator: ConsoleClient) -> None:
    assert "Choose a source first" in operator.get("/models/new").text
    assert "Choose a source first" in operator.get("/models/new?source=nobody").text


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        ({"target": ""}, "target"),
        ({"target": "x" * 200}, "target"),
        ({"algorithm": "magic"}, "algorithm"),
        ({"algorithm": "linear", "task": "classification"}, "algorithm"),
        ({"task": "poetry"}, "task"),
        ({"fields": "kind"}, "fields"),
        ({"held_out": "4"}, "held_out"),
        ({"held_out": "nan"}, "held_out"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "9999999999"}, "seed"),
    ],
)
def test_a_refused_form_keeps_what_was_typed(
    operator: ConsoleClient, odd: dict[str, str], field: str
) -> None:
    refused = operator.post("/models", data=FORM | {"held_out": "33", "seed": "7"} | odd)
    assert refused.status_code == 422
    assert f"field-{field}-errors" in refused.text
    assert odd.get("held_out", 'value="33"') in refused.text
    assert 'value="7"' in refused.text or "seed" in odd


def test_an_operator_predicts_once_at_a_time(app: Flask, operator: ConsoleClient) -> None:
    assert operator.post("/models/1/runs").status_code == 303
    job = newest_job()
    assert (job.type, job.arguments["target"]) == ("batch_prediction", "kind")
    operator.post("/models/1/runs")
    assert newest_job().id == job.id


@pytest.mark.parametrize(
    "path",
    ["/models", "/models/1/runs", "/models/versions/1/promote", "/models/versions/1/retire"],
)
def test_a_viewer_only_looks(viewer: ConsoleClient, path: str) -> None:
    assert viewer.post(path, data={"reason": "Please"}).status_code == 403
    assert viewer.get("/models/new").status_code == 403

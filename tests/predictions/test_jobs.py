"""The jobs of models on real records: what is learnt, what is refused, what a crash leaves."""

import json
import subprocess
import sys
import zipfile
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.predictions.conftest import (
    KEY,
    SOURCE,
    TARGET,
    add_records,
    change_record,
    count,
    enqueue_job,
    predictions,
    train,
    tumours,
    version,
    work,
)
from tests.tasks.workers import Context, Killed, claim, kill, lose_worker
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.errors import Invalid
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft
from webapp.jobs.models import Job
from webapp.jobs.values import JobCancelled, JobState, LeaseLost
from webapp.predictions.files import keep, path_of
from webapp.predictions.models import ModelVersion, Prediction, PredictionRun
from webapp.predictions.sampling import is_held_out
from webapp.predictions.versions import promote, retire

Records = tuple[dict[str, str], ...]
COUNT = 569


def folder(app: Flask) -> Path:
    models_dir: Path = app.extensions["settings"].models_dir
    return models_dir


def file_of(app: Flask, found: ModelVersion) -> Path:
    return path_of(folder(app), found.file_hash)


def put_in_place(found: ModelVersion, file_hash: str) -> None:
    """Have a version name another file."""
    with transaction() as session:
        session.get_one(ModelVersion, found.id).file_hash = file_hash


def last_run() -> PredictionRun:
    with reading() as session:
        return session.scalars(select(PredictionRun).order_by(PredictionRun.id.desc())).first()  # type: ignore[return-value]


def flag_everything(share: float) -> None:
    draft = FlagDraft(name="new_prediction_model", enabled=True, percentage=share)
    with transaction() as session:
        create_flag(session, draft, by=COMMAND, now=now(), reason="A trial")


def test_a_first_version_is_better_than_guessing_and_becomes_the_champion(
    app: Flask, records: Records
) -> None:
    found = train(app)
    assert (found.number, found.state, found.task, found.algorithm) == (
        1,
        "champion",
        "classification",
        "logistic",
    )
    assert found.metrics["balanced_accuracy"] > 0.9
    assert found.metrics["roc_auc"] > 0.95
    held_out = sum(is_held_out(row[KEY], 0.2) for row in records)
    assert (found.rows_held_out, found.rows_trained) == (held_out, COUNT - held_out)
    assert found.left_out == {KEY: "is the key"}
    assert [feature["name"] for feature in found.features] == sorted(
        set(records[0]) - {KEY, TARGET}
    )
    assert file_of(app, found).stat().st_size == found.file_size
    assert found.trained_by == "command line"
    with reading() as session:
        actions = [entry.action for entry in history(session, "model", f"{SOURCE}: {TARGET}")]
    assert actions == ["model.promoted", "model.trained"]


def test_a_challenger_takes_over_where_it_is_not_worse_on_the_same_held_out_records(
    app: Flask, records: Records
) -> None:
    first = train(app)
    again = train(app)
    assert again.data_hash == first.data_hash
    assert again.metrics == first.metrics
    assert (again.state, version(first.id).state) == ("champion", "retired")
    worse = train(app, fields=["measure9"], held_out_share=0.3)
    assert (worse.state, version(again.id).state) == ("candidate", "champion")
    compared = worse.comparison
    # Of two shares held out it is the smaller: neither has learnt from these.
    assert compared["rows"] == again.rows_held_out < worse.rows_held_out
    assert compared["champion"] == 2
    assert compared["score"] < compared["champion_score"] == again.metrics["balanced_accuracy"]
    assert "worse than version 2" in compared["reason"]


def test_an_attempt_that_runs_again_registers_nothing_twice(app: Flask, records: Records) -> None:
    retrain = import_module("tasks.predictions")
    job_id = enqueue_job("model_retraining", target=TARGET)
    context = Context(claim(job_id))
    arguments = retrain.TrainingArguments.model_validate(context.claim.arguments)
    first = retrain.retrain(context, arguments)
    assert retrain.retrain(context, arguments) == first
    with reading() as session:
        assert count(session, ModelVersion) == 1


def test_a_worker_that_lost_its_job_while_it_learnt_registers_nothing(
    app: Flask, records: Records
) -> None:
    retrain = import_module("tasks.predictions")
    job_id = enqueue_job("model_retraining", target=TARGET)

    def overtake() -> None:
        lose_worker()
        claim(job_id)

    context = Context(claim(job_id), after=2, happen=overtake)
    with pytest.raises(LeaseLost):
        retrain.retrain(context, retrain.TrainingArguments.model_validate(context.claim.arguments))
    with reading() as session:
        assert count(session, ModelVersion) == 0


@pytest.mark.parametrize("algorithm", ["linear", "gradient_boosting"])
def test_a_number_is_learnt_as_a_number(app: Flask, records: Records, algorithm: str) -> None:
    found = train(app, target="measure2", algorithm=algorithm)
    assert found.task == "regression"
    assert found.state == "champion"
    # A perimeter follows from the other measures.
    assert found.metrics["r2"] > 0.9
    assert work(app, "batch_prediction").state == JobState.SUCCEEDED
    answered = predictions()[found.id, records[0][KEY]]
    assert answered.label is None
    assert answered.number == pytest.approx(float(records[0]["measure2"]), rel=0.2)


def test_categories_and_gaps_are_learnt_and_new_categories_ignored(app: Flask) -> None:
    kinds = ("red", "green", "blue")
    rows = tuple(
        {
            "id": str(number),
            "kind": kinds[number % 3] if number % 11 else "",
            "rare": f"only {number}" if number % 50 == 0 else "often",
            "noise": str(number * 7919 % 100),
            "good": "yes" if number % 3 == 0 else "no",
        }
        for number in range(300)
    )
    with app.app_context():
        add_records(rows, key="id")
        found = train(app, target="good")
        assert {item["name"]: item["gaps"] for item in found.features} == {
            "kind": True,
            "noise": False,
            "rare": False,
        }
        assert found.metrics["balanced_accuracy"] > 0.8
        change_record("0", rows[0] | {"kind": "a colour that nobody has seen"})
        done = work(app, "batch_prediction")
        assert done.result is not None
        assert done.result["written"] == 300


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"source": "gone", "target": "a"}, "no source 'gone'"),
        ({"target": "gone"}, "No record has a field 'gone'"),
        ({"target": KEY}, "different values"),
        ({"target": TARGET, "fields": [TARGET]}, "tells itself"),
        ({"target": TARGET, "fields": ["gone"]}, "No record has a field 'gone'"),
        ({"target": TARGET, "task": "regression"}, "Only 0 of its values are numbers"),
        ({"target": TARGET, "algorithm": "linear", "task": "classification"}, "does no"),
    ],
)
def test_what_cannot_be_learnt_is_refused_and_is_not_tried_again(
    app: Flask, records: Records, arguments: dict[str, Any], told: str
) -> None:
    done = work(app, "model_retraining", **arguments)
    assert done.state == JobState.DEAD
    assert told in str(done.error)


def test_too_few_records_are_refused(app: Flask) -> None:
    with app.app_context():
        add_records(tumours()[:49])
        done = work(app, "model_retraining", target=TARGET)
        assert "50 are needed" in str(done.error)


def test_predictions_name_their_version_and_a_second_run_changes_nothing(
    app: Flask, records: Records
) -> None:
    champion = train(app)
    done = work(app, "batch_prediction", batch_size=100)
    assert done.result is not None
    assert (done.result["processed"], done.result["written"]) == (COUNT, COUNT)
    assert done.progress_done == done.progress_total == COUNT
    first = predictions()
    assert {version_id for version_id, _ in first} == {champion.id}
    right = sum(first[champion.id, row[KEY]].label == row[TARGET] for row in records)
    assert right > 0.9 * COUNT
    again = work(app, "batch_prediction", batch_size=70)
    assert again.result is not None
    assert (again.result["written"], again.result["unchanged"]) == (0, COUNT)
    assert {key: item.run_id for key, item in predictions().items()} == {
        key: item.run_id for key, item in first.items()
    }
    change_record(records[7][KEY], records[7] | {"measure3": "2000"})
    third = work(app, "batch_prediction")
    assert third.result is not None
    assert (third.result["written"], third.result["unchanged"]) == (1, COUNT - 1)


def test_the_flag_gives_its_share_of_records_to_the_challenger(
    app: Flask, records: Records
) -> None:
    champion = train(app)
    challenger = train(app, fields=["measure9"])
    assert challenger.state == "candidate"
    done = work(app, "batch_prediction")
    assert done.result is not None
    assert done.result["by_challenger"] == 0
    flag_everything(40)
    done = work(app, "batch_prediction")
    assert done.result is not None
    by_challenger = {key for version_id, key in predictions() if version_id == challenger.id}
    assert len(by_challenger) == done.result["by_challenger"] == done.result["written"]
    assert 0.3 * COUNT < len(by_challenger) < 0.5 * COUNT
    # The others are the champion's as they were, and the same records go the same way again.
    again = work(app, "batch_prediction")
    assert again.result is not None
    assert (again.result["written"], again.result["unchanged"]) == (0, COUNT)
    assert champion.id == last_run().champion_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"measure3": ""}, "Its field measure3 is empty, which it never was in training."),
        ({"measure3": "much"}, "Its field measure3 is no number."),
        (None, "It lacks the field measure3."),
    ],
)
def test_what_lacks_a_field_is_rejected_and_counted_and_not_guessed(
    app: Flask, records: Records, change: dict[str, str] | None, reason: str
) -> None:
    train(app)
    fields = {name: value for name, value in records[7].items() if change or name != "measure3"}
    change_record(records[7][KEY], fields | (change or {}))
    done = work(app, "batch_prediction")
    assert done.result is not None
    assert done.result["rejections"] == {reason: 1}
    assert done.result["written"] == COUNT - 1
    assert records[7][KEY] not in {key for _, key in predictions()}


def test_a_run_that_can_predict_nothing_has_failed(app: Flask, records: Records) -> None:
    train(app)
    for row in records[:3]:
        change_record(row[KEY], {KEY: row[KEY]})
    with transaction() as session:
        for record in session.scalars(select(_record()).where(_record().key > records[2][KEY])):
            session.delete(record)
    done = work(app, "batch_prediction")
    assert done.state == JobState.DEAD
    assert "None of 3 records" in str(done.error)


def _record() -> Any:
    from webapp.sources.models import Record  # noqa: PLC0415 - one test alone

    return Record


def test_without_a_champion_nothing_is_predicted(app: Flask, records: Records) -> None:
    assert "train one first" in str(work(app, "batch_prediction").error)
    found = train(app)
    with transaction() as session:
        retire(session, found.id, revision=None, by=COMMAND, now=now(), reason="Wrong")
    assert "has no champion" in str(work(app, "batch_prediction").error)


def predict(context: Context) -> dict[str, Any]:
    module = import_module("tasks.predictions")
    arguments = module.PredictionArguments.model_validate(context.claim.arguments)
    result: dict[str, Any] = module.predict(context, arguments)
    return result


def test_a_run_whose_worker_is_killed_goes_on_behind_its_last_batch_with_its_versions(
    app: Flask, records: Records
) -> None:
    champion = train(app)
    job_id = enqueue_job("batch_prediction", batch_size=100)
    for done in (200, 400):
        with pytest.raises(Killed):
            predict(Context(claim(job_id), after=2, happen=kill))
        assert last_run().processed == done == len(predictions())
        lose_worker()
    # Another champion meanwhile: what was begun with one version is ended with it.
    assert train(app).state == "champion"
    context = Context(claim(job_id))
    result = predict(context)
    assert context.shown == [(500, COUNT), (COUNT, COUNT)]
    assert (result["processed"], result["written"], result["rejected"]) == (COUNT, COUNT, 0)
    assert {version_id for version_id, _ in predictions()} == {champion.id}
    with reading() as session:
        assert count(session, PredictionRun) == 1
        assert count(session, Prediction) == COUNT


def test_a_worker_that_was_thought_dead_writes_nothing_more(app: Flask, records: Records) -> None:
    train(app)
    job_id = enqueue_job("batch_prediction", batch_size=100)

    def overtake() -> None:
        lose_worker()
        claim(job_id)

    with pytest.raises(LeaseLost):
        predict(Context(claim(job_id), after=1, happen=overtake))
    assert last_run().processed == len(predictions()) == 100


def test_a_cancelled_run_stops_between_two_batches(app: Flask, records: Records) -> None:
    train(app)
    context = Context(claim(enqueue_job("batch_prediction", batch_size=100)), after=1)
    context._happen = lambda: setattr(context, "asked_to_stop", True)
    with pytest.raises(JobCancelled):
        predict(context)
    assert len(predictions()) == 100


def test_a_file_that_was_meddled_with_is_refused_before_it_is_read(
    app: Flask, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = train(app)
    path = file_of(app, found)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)

    def read(data: bytes) -> None:
        raise AssertionError("It was read.")

    monkeypatch.setattr("webapp.predictions.estimators.read", read)
    done = work(app, "batch_prediction")
    assert done.state == JobState.DEAD
    assert "not the one that was registered: its hash differs" in str(done.error)
    assert predictions() == {}


def test_a_file_that_is_gone_says_so(app: Flask, records: Records) -> None:
    found = train(app)
    file_of(app, found).unlink()
    assert "not in the folder of models" in str(work(app, "batch_prediction").error)
    # It can still be beaten, but by somebody's word only.
    again = train(app)
    assert again.state == "candidate"
    assert "cannot be scored" in again.comparison["reason"]


def test_a_file_of_other_types_is_refused_though_its_hash_fits(
    app: Flask, records: Records, tmp_path: Path
) -> None:
    found = train(app)
    mark = tmp_path / "it ran"
    transformer = import_module("sklearn.preprocessing").FunctionTransformer
    does_harm = transformer(func=subprocess.getoutput, kw_args={"x": str(mark)})
    evil: bytes = import_module("skops.io").dumps(does_harm)
    put_in_place(found, keep(folder(app), evil))
    done = work(app, "batch_prediction")
    assert "holds subprocess.getoutput, which no model needs" in str(done.error)
    put_in_place(found, keep(folder(app), b"no archive at all"))
    assert "is no model" in str(work(app, "batch_prediction").error)
    assert not mark.exists()


def test_an_archive_that_names_code_in_its_schema_runs_none(tmp_path: Path) -> None:
    data = BytesIO()
    mark = tmp_path / "it ran"
    schema = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "ObjectNode",
        "__reduce__": {"args": [f"touch {mark}"]},
        "__id__": 1,
        "content": None,
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises(Invalid):
        import_module("webapp.predictions.estimators").read(data.getvalue())
    assert not mark.exists()


def test_a_version_that_was_retired_can_be_promoted_back(app: Flask, records: Records) -> None:
    first, second = train(app), train(app)
    with transaction() as session:
        promote(session, first.id, revision=3, by=COMMAND, now=now(), reason="Back")
    assert (version(first.id).state, version(second.id).state) == ("champion", "retired")
    work(app, "batch_prediction")
    assert {version_id for version_id, _ in predictions()} == {first.id}


def test_a_model_of_several_is_named(app: Flask, records: Records) -> None:
    train(app)
    train(app, target="measure2")
    assert "has several models" in str(work(app, "batch_prediction").error)
    assert work(app, "batch_prediction", target="measure2").state == JobState.SUCCEEDED


def test_who_neither_trains_nor_predicts_never_loads_scikit_learn() -> None:
    program = (
        "import sys, tasks, wsgi; print(sorted({'sklearn', 'skops', 'scipy'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.splitlines()[-1] == "[]"


def test_the_job_of_a_version_may_be_removed(app: Flask, records: Records) -> None:
    found = train(app)
    with transaction() as session:
        session.delete(session.get_one(Job, found.job_id))
    assert version(found.id).job_id is None

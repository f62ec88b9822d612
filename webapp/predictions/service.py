"""Asks for trainings and predictions, and finds models and versions by what people call them.

What is asked for is a job.  Never trains, predicts or reads a file, and changes no version:
``versions`` does that.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from webapp.actors import Actor
from webapp.db import DbSession
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.service import enqueue
from webapp.predictions.champions import champion_of
from webapp.predictions.models import Model, ModelVersion, sources
from webapp.predictions.values import (
    MAX_FIELDS,
    MAX_SEED,
    MAX_SHARE,
    MAX_TARGET,
    MIN_SHARE,
    PREDICTION,
    TASKS,
    TRAINING,
    Algorithm,
    Task,
    TrainingDraft,
)
from webapp.sources.service import find_source


def request_training(session: DbSession, draft: TrainingDraft, *, by: Actor, now: datetime) -> int:
    """Enqueue the job that trains, and return its number; :class:`Invalid` names each field.

    While one trains the same model, that job is the answer.
    """
    check_draft(session, draft)
    arguments = {
        "source": draft.source,
        "target": draft.target,
        "algorithm": draft.algorithm or None,
        "task": draft.task or None,
        "fields": list(draft.fields),
        "held_out_share": draft.held_out_share,
        "seed": draft.seed,
    }
    key = f"{TRAINING}:{draft.source}:{draft.target}"
    return enqueue(session, TRAINING, arguments, by=by, now=now, unique_key=key).id


def request_predictions(session: DbSession, model_id: int, *, by: Actor, now: datetime) -> int:
    """Enqueue the job that predicts, and return its number; :class:`Conflict` without a champion.

    While one predicts with the same model, that job is the answer.
    """
    model, source = find_model(session, model_id)
    if champion_of(session, model) is None:
        raise Conflict(f"{name_of(source, model.target)} has no champion: promote a version first.")
    arguments = {"source": source, "target": model.target}
    key = f"{PREDICTION}:{source}:{model.target}"
    return enqueue(session, PREDICTION, arguments, by=by, now=now, unique_key=key).id


def check_draft(session: DbSession, draft: TrainingDraft) -> None:
    """Refuse what could not be trained; :class:`Invalid` names every field."""
    errors: dict[str, Sequence[str]] = {}
    try:
        find_source(session, draft.source)
    except NotFound:
        errors["source"] = [
            f"There is no source {draft.source!r}." if draft.source else "Choose a source."
        ]
    if not 0 < len(draft.target) <= MAX_TARGET:
        errors["target"] = [f"Name a field, in at most {MAX_TARGET} characters."]
    errors |= _kind_errors(draft)
    if draft.target in draft.fields:
        errors["fields"] = [f"{draft.target} is what is predicted: it tells itself."]
    elif len(draft.fields) > MAX_FIELDS:
        errors["fields"] = [f"Name at most {MAX_FIELDS}."]
    if not MIN_SHARE <= draft.held_out_share <= MAX_SHARE:
        errors["held_out_share"] = [f"From {MIN_SHARE} to {MAX_SHARE}."]
    if not 0 <= draft.seed <= MAX_SEED:
        errors["seed"] = [f"A whole number from 0 to {MAX_SEED}."]
    if errors:
        field, messages = next(iter(errors.items()))
        raise Invalid(f"{field}: {messages[0]}", errors)


def _kind_errors(draft: TrainingDraft) -> dict[str, Sequence[str]]:
    errors: dict[str, Sequence[str]] = {}
    if draft.algorithm and draft.algorithm not in set(Algorithm):
        errors["algorithm"] = [f"One of {', '.join(Algorithm)}."]
    if draft.task and draft.task not in set(Task):
        errors["task"] = [f"One of {', '.join(Task)}."]
    if draft.algorithm and draft.task and not errors:
        algorithm = Algorithm(draft.algorithm)
        if Task(draft.task) not in TASKS[algorithm]:
            errors["algorithm"] = [f"A {algorithm} model does no {draft.task}."]
    return errors


def find_model(session: DbSession, model_id: int) -> tuple[Model, str]:
    """Return a model and the name of its source; :class:`NotFound` where there is none."""
    found = session.execute(
        select(Model, sources.c.name)
        .join(sources, sources.c.id == Model.source_id)
        .where(Model.id == model_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"There is no model {model_id}.")
    return found[0], found[1]


def find_model_of(session: DbSession, source: str, target: str) -> Model:
    """Return the model of a source that predicts ``target``, or its only one where that is empty.

    :class:`Invalid` names what is missing.
    """
    wanted = select(Model).where(Model.source_id == find_source(session, source).id)
    if target:
        wanted = wanted.where(Model.target == target)
    found = session.scalars(wanted.order_by(Model.id).limit(2)).all()
    if len(found) == 1:
        return found[0]
    if found:
        raise Invalid.field("target", f"{source} has several models: say which field.")
    about = f"predicts {target!r}" if target else "predicts anything"
    raise Invalid.field("target", f"No model of {source} {about}: train one first.")


def find_version(session: DbSession, version_id: int) -> ModelVersion:
    """Return one version; :class:`NotFound` where there is none."""
    version = session.get(ModelVersion, version_id, populate_existing=True)
    if version is None:
        raise NotFound(f"There is no version {version_id} of a model.")
    return version


def name_of(source: str, target: str) -> str:
    """Return what a model is called, in the audit and by people."""
    return f"{source}: {target}"

"""Evaluation over JSON, for apps: one flag, many at once, and why one answers as it does."""

from time import perf_counter

import orjson
from flask import Blueprint, Response, request

from webapp.clock import now
from webapp.db import reading
from webapp.errors import Unavailable
from webapp.flags.decorators import evaluate, evaluate_many
from webapp.flags.environments import environment_to_ask
from webapp.flags.explanation import explain
from webapp.flags.queries import load_flags
from webapp.flags.relations import known_to
from webapp.flags.schemas import BulkQuestion, Question, decision_as_json, explanation_as_json
from webapp.flags.snapshot import flag_store
from webapp.flags.values import EvaluationContext, subject_id
from webapp.roles import Role
from webapp.web.access import evaluation, principal, requires
from webapp.web.answers import json_answer
from webapp.web.schemas import parse_json, read_json

blueprint = Blueprint("flags_evaluation_api", __name__, url_prefix="/api/v1/feature-flags")


@blueprint.post("/<name>/evaluate")
@evaluation
def evaluate_flag(name: str) -> Response:
    """Decide a flag for the subject in the body."""
    return _answer(name, read_json(Question))


@blueprint.post("/<name>/check")
@evaluation
def check_flag(name: str) -> Response:
    """Answer as evaluate does, under the name that older clients call."""
    return _answer(name, read_json(Question))


@blueprint.get("/<name>/check")
@evaluation
def check_flag_by_query(name: str) -> Response:
    """Decide a flag for the subject in the query."""
    asked = {key: request.args[key] for key in ("user_id", "environment") if key in request.args}
    return _answer(name, parse_json(Question, orjson.dumps(asked)))


@blueprint.post("/evaluate-bulk")
@evaluation
def evaluate_bulk() -> Response:
    """Decide the flags that are named, or all, for one subject."""
    question = read_json(BulkQuestion)
    started = perf_counter()
    _demand_flags()
    decisions = evaluate_many(
        question.flag_names,
        question.user_id,
        environment=_environment(question),
        attributes=question.attributes,
    )
    flags = {name: decision_as_json(decision) for name, decision in decisions.items()}
    return json_answer({"flags": flags, "evaluation_time_ms": _milliseconds_since(started)})


@blueprint.post("/<name>/explain")
@requires(Role.VIEWER)
def explain_flag(name: str) -> Response:
    """Tell every step of a decision, from the flag as it is stored."""
    question = read_json(Question)
    context = EvaluationContext(
        subject_id(question.user_id),
        _environment(question) or flag_store().environment,
        now(),
        question.attributes,
    )
    # A question, though it is a POST: it does not wait for whoever writes.
    with reading() as session:
        flag = next(iter(load_flags(session, [name])), None)
        known = known_to(session, flag)
    archived = flag is not None and flag.archived_at is not None
    definition = flag.definition() if flag else None
    explanation = explain(definition, context, known=known, archived=archived)
    return json_answer(explanation_as_json(name, explanation))


def _answer(name: str, question: Question) -> Response:
    started = perf_counter()
    _demand_flags()
    decision = evaluate(
        name,
        question.user_id,
        environment=_environment(question),
        attributes=question.attributes,
    )
    taken = {"evaluation_time_ms": _milliseconds_since(started)}
    return json_answer({"flag_name": name, **decision_as_json(decision), **taken})


def _demand_flags() -> None:
    if not flag_store().status().loaded:
        raise Unavailable("No flag could be read yet: the database is away.")


def _environment(question: Question) -> str | None:
    return environment_to_ask(question.environment, bound=principal().environment)


def _milliseconds_since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 4)

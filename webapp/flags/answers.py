"""The answers of evaluation as JSON: one function for one flag, one for many.

Flask's views, the short cut in front of them and the edge all call these.  Nothing here knows of a
request; who asks has been settled, and the question has been read.
"""

from time import perf_counter
from typing import Any

import orjson

from webapp.errors import Unavailable
from webapp.flags.environments import environment_to_ask
from webapp.flags.schemas import BulkQuestion, Question, decision_as_json
from webapp.flags.snapshot import NOT_READ, FlagStore


def answer_one(store: FlagStore, name: str, question: Question, *, bound: str | None) -> bytes:
    """Decide one flag; ``bound`` is the environment that the asker may ask about, None for any.

    Raises :class:`webapp.errors.Forbidden` and :class:`webapp.errors.Unavailable`.
    """
    started = perf_counter()
    environment = _environment(store, question, bound)
    decision = store.evaluate(
        name, question.user_id, environment=environment, attributes=question.attributes
    )
    body = {"flag_name": name, **decision_as_json(decision)}
    return _written(body, started)


def answer_many(store: FlagStore, question: BulkQuestion, *, bound: str | None) -> bytes:
    """Decide the flags that are named, or all, for one subject; raises as :func:`answer_one`."""
    started = perf_counter()
    environment = _environment(store, question, bound)
    decisions = store.evaluate_many(
        question.flag_names,
        question.user_id,
        environment=environment,
        attributes=question.attributes,
    )
    flags = {name: decision_as_json(decision) for name, decision in decisions.items()}
    return _written({"flags": flags}, started)


def _environment(store: FlagStore, question: Question, bound: str | None) -> str | None:
    if not store.loaded:
        raise Unavailable(NOT_READ)
    return environment_to_ask(question.environment, bound=bound)


def _written(body: dict[str, Any], started: float) -> bytes:
    body["evaluation_time_ms"] = round((perf_counter() - started) * 1000, 4)
    return orjson.dumps(body)

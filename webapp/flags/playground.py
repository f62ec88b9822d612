"""Trying a flag: the question that stands in an address, and its answer with the steps to it.

The flag is the one that is stored, not the one that processes decide by this second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from webapp.db import DbSession
from webapp.errors import FieldErrors
from webapp.flags.environments import environment_to_ask
from webapp.flags.explanation import Split, explain
from webapp.flags.models import FeatureFlag
from webapp.flags.relations import known_to
from webapp.flags.steps import StepLine, lines_of
from webapp.flags.typed import object_of
from webapp.flags.values import Decision, EvaluationContext, subject_id

_EXAMPLE: Final = '{"plan": "pro"}'
_FIELDS: Final = ("subject", "attributes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody tries a flag with, as it was typed, and the answer where there is one."""

    subject: str = ""
    environment: str = ""
    attributes: str = ""
    decision: Decision | None = None
    steps: Sequence[StepLine] = ()
    split: Split | None = None
    errors: FieldErrors | None = None


def question_in(asked: Mapping[str, str], *, bound: str | None, own: str) -> Question:
    """Read a question; ``bound`` is the environment of a token, ``own`` that of the deployment."""
    return Question(
        subject=asked.get("subject", ""),
        environment=environment_to_ask(asked.get("environment"), bound=bound) or own,
        attributes=asked.get("attributes", "").replace("\r\n", "\n"),
    )


def is_asked(asked: Mapping[str, str]) -> bool:
    """Tell whether an address holds a question."""
    return any(field in asked for field in _FIELDS)


def answered(
    session: DbSession, question: Question, flag: FeatureFlag, *, now: datetime
) -> Question:
    """Answer a question; attributes that are no JSON object get their message."""
    try:
        attributes = object_of(question.attributes, _EXAMPLE)
    except ValueError as error:
        return replace(question, errors={"attributes": [str(error)]})
    subject = subject_id(question.subject.strip())
    told = explain(
        flag.definition(),
        EvaluationContext(subject, question.environment, now, attributes),
        known=known_to(session, flag),
        archived=flag.archived_at is not None,
    )
    return replace(question, decision=told.decision, steps=lines_of(told), split=told.split)

"""The form that asks for a training: its fields as they were typed, and as values.

Works on plain texts, so that it knows neither Flask nor the database.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from webapp.errors import FieldErrors, Invalid
from webapp.predictions.values import (
    DEFAULT_SHARE,
    MAX_SEED,
    MAX_SHARE,
    MIN_SHARE,
    Algorithm,
    Task,
    TrainingDraft,
)

ALGORITHMS: Final = (
    ("", "As the field suggests"),
    (Algorithm.LOGISTIC, "Logistic regression"),
    (Algorithm.LINEAR, "Linear regression"),
    (Algorithm.GRADIENT_BOOSTING, "Gradient boosting"),
)
TASKS: Final = (
    ("", "As the field suggests"),
    (Task.CLASSIFICATION, "A class"),
    (Task.REGRESSION, "A number"),
)
_PERCENT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")
_WHOLE: Final = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingForm:
    """Every field as text; the share that is held out in percent."""

    source: str = ""
    target: str = ""
    algorithm: str = ""
    task: str = ""
    fields: Sequence[str] = ()
    held_out: str = f"{100 * DEFAULT_SHARE:g}"
    seed: str = "0"
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str], fields: Sequence[str]) -> "TrainingForm":
        """Take what a browser sent."""
        return cls(
            source=sent.get("source", ""),
            target=sent.get("target", ""),
            algorithm=sent.get("algorithm", ""),
            task=sent.get("task", ""),
            fields=tuple(fields),
            held_out=sent.get("held_out", "").strip(),
            seed=sent.get("seed", "").strip(),
        )

    def draft(self) -> TrainingDraft:
        """Return what was asked for; :class:`Invalid` with all that is no number."""
        errors: dict[str, Sequence[str]] = {}
        if not _PERCENT.fullmatch(self.held_out):
            errors["held_out"] = [f"A percentage from {100 * MIN_SHARE:g} to {100 * MAX_SHARE:g}."]
        if not _WHOLE.fullmatch(self.seed):
            errors["seed"] = [f"A whole number from 0 to {MAX_SEED}."]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return TrainingDraft(
            source=self.source,
            target=self.target,
            algorithm=self.algorithm,
            task=self.task,
            fields=self.fields,
            held_out_share=float(self.held_out) / 100,
            seed=int(self.seed),
        )

    def refused(self, error: Invalid) -> FieldErrors:
        """Return what is wrong under the names that the form has."""
        return {
            "held_out" if name == "held_out_share" else name: messages
            for name, messages in error.errors.items()
        }

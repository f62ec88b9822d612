"""What a form is answered with that was refused: what was typed, with messages at their places."""

from dataclasses import replace
from typing import TypeVar

from webapp.db import db
from webapp.errors import DomainError, Invalid
from webapp.flags.forms import FlagForm
from webapp.flags.placement import Rows, placed
from webapp.flags.shared_forms import GroupForm, SegmentForm

Form = TypeVar("Form", FlagForm, SegmentForm, GroupForm)


def refused(form: Form, error: DomainError, taken: str = "") -> Form:
    """Put the messages of a refusal at their fields; ``taken`` is the field of a conflict."""
    db.session.rollback()
    if isinstance(error, Invalid):
        return replace(form, errors=placed(error.errors, _rows(form)))
    return replace(form, errors={taken: [error.detail]}) if taken else form


def _rows(form: FlagForm | SegmentForm | GroupForm) -> Rows:
    if isinstance(form, FlagForm):
        return {"rules": form.rules, "variants": form.variants}
    return {}

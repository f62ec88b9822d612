"""Actions that ask for their reason: done where it was given, else asked for on a page.

Browsers with scripts ask in a dialog beforehand; the page is for those without, and for what was
refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import request
from werkzeug.wrappers import Response as BaseResponse

from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, FieldErrors, Invalid
from webapp.web.access import actor
from webapp.web.htmx import done, render, wants_part


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """An action that asks for its reason; ``problem`` says why it was not done."""

    title: str
    text: str
    action: str
    url: str
    hidden: dict[str, str]
    reason: str
    errors: FieldErrors
    problem: str = ""


def asking(title: str, text: str, action: str, **hidden: str) -> Confirmation:
    """Return what this request asks for, in words that name the thing."""
    return Confirmation(
        title=title,
        text=text,
        action=action,
        url=request.path,
        hidden=hidden,
        reason=request.form.get("reason", ""),
        errors={},
    )


def act(
    asked: Confirmation, text: str, *, url: str, verb: Callable[[Any, datetime], object]
) -> BaseResponse:
    """Do what was asked, or ask again where the reason does not do or the thing does not let it."""
    try:
        verb(actor(), now())
        db.session.commit()
    except (Invalid, Conflict) as error:
        db.session.rollback()
        if wants_part():
            return done(error.detail, url=url, tone="danger")
        return _asked_again(asked, error)
    return done(text, url=url)


def _asked_again(asked: Confirmation, error: Invalid | Conflict) -> BaseResponse:
    if isinstance(error, Conflict):
        asked = replace(asked, problem=error.detail)
        return render("shell/confirm.html", status=409, asking=asked)
    asked = replace(asked, errors=error.errors if "reason" in request.form else {})
    return render("shell/confirm.html", status=422, asking=asked)

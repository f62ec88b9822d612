"""Accounts over JSON: what the token that a program shows is worth."""

from datetime import datetime

from flask import Blueprint, Response

from webapp.roles import Role
from webapp.web.access import principal, requires
from webapp.web.answers import json_answer
from webapp.web.limits import Kind, limited_as
from webapp.web.openapi import Answer, describes


class TokenResponse(Answer):
    """What whoever asks may do, and until when."""

    name: str
    role: Role
    environment: str | None
    expires_at: datetime | None


blueprint = Blueprint("accounts_api", __name__, url_prefix="/api/v1/token")


@blueprint.get("")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
@describes({200: TokenResponse})
def show() -> Response:
    """Tell whoever asks what they may do here, and until when."""
    who = principal()
    return json_answer(
        {
            "name": who.name,
            "role": who.role,
            "environment": who.environment,
            "expires_at": who.expires_at,
        }
    )

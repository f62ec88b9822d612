"""The pages of API tokens, for admins: the list, and the form that makes one.

The text of a token is shown by the answer that made it, and nowhere else.
"""

from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.accounts.forms import LIFETIMES, ROLES, TokenForm, errors_at
from webapp.accounts.queries import (
    TokenFilters,
    TokenState,
    find_api_tokens,
    view_token,
)
from webapp.accounts.service import create_token, revoke_token
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, Invalid
from webapp.paging import COUNT_CAP, PAGE_SIZE
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import shown_once
from webapp.web.confirmations import act, asking
from webapp.web.cursors import read_search, read_skip
from webapp.web.htmx import refused_status, render

blueprint = Blueprint("tokens", __name__, url_prefix="/settings/tokens")

STATES = [(state.value, state.value.capitalize()) for state in TokenState]


@blueprint.get("")
@requires(Role.ADMIN)
def index() -> Response:
    """List the tokens that the filters in the URL ask for."""
    role, state = request.args.get("role", ""), request.args.get("state", "")
    filters = TokenFilters(
        read_search(),
        role if role in set(Role) else "",
        state if state in set(TokenState) else "",
    )
    return render(
        "tokens/index.html",
        "tokens/_table.html",
        filters=filters,
        found=find_api_tokens(db.session, filters, now=now(), skip=read_skip()),
        roles=ROLES,
        states=STATES,
        page_size=PAGE_SIZE,
        cap=COUNT_CAP,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a token to be made."""
    return _form_page(TokenForm())


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> Response:
    """Make the token that was typed, and show it."""
    form = TokenForm.read(request.form)
    at = now()
    try:
        made = create_token(
            db.session,
            form.name,
            role=form.chosen(),
            environment=form.environment,
            expires_at=form.expires_at(at),
            by=actor(),
            now=at,
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        db.session.rollback()
        form = replace(form, errors=errors_at(error, "name"))
        return _form_page(form, refused_status(error))
    token = view_token(db.session, made.id, now=at)
    return shown_once(render("tokens/made.html", status=201, token=token, text=made.text))


@blueprint.post("/<int:token_id>/revoke")
@requires(Role.ADMIN)
def revoke(token_id: int) -> BaseResponse:
    """Make a token worthless for good."""
    name = view_token(db.session, token_id, now=now()).name
    asked = asking(
        f"Revoke {name}?",
        "Programs that show it are refused within seconds. It cannot be brought back.",
        "Revoke token",
    )
    url = url_for("accounts.tokens.index")
    return act(
        asked,
        f"{name} is revoked.",
        url=url,
        verb=lambda by, at: revoke_token(db.session, name, by=by, now=at, reason=asked.reason),
    )


def _form_page(form: TokenForm, status: int = 200) -> Response:
    return render("tokens/new.html", status=status, form=form, roles=ROLES, lifetimes=LIFETIMES)

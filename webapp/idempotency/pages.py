"""The page Idempotency keys: what programs sent under which, and what came again."""

from flask import Blueprint, Response, request

from webapp.clock import now
from webapp.db import db
from webapp.idempotency.queries import KeyFilters, key_figures, list_keys
from webapp.idempotency.values import MAX_KEY
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import render

blueprint = Blueprint("idempotency", __name__, url_prefix="/idempotency-keys")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List keys, the newest first."""
    filters = KeyFilters(read_search(MAX_KEY), repeated=request.args.get("show") == "repeated")
    page = list_keys(db.session, filters, read_cursor(), now=now())
    return render(
        "idempotency/index.html",
        "idempotency/_table.html",
        page=page,
        filters=filters,
        figures=key_figures(db.session),
        **neighbours(page),
    )

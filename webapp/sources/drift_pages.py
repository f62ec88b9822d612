"""The decisions about renames, on the page of their source."""

from flask import url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.db import db
from webapp.roles import Role
from webapp.sources.pages import blueprint
from webapp.sources.renaming import accept_rename, reject_rename
from webapp.web.access import requires
from webapp.web.confirmations import act, asking


@blueprint.post("/<name>/drift/<int:drift_id>/accept")
@requires(Role.OPERATOR)
def accept(name: str, drift_id: int) -> BaseResponse:
    """Follow a rename from the next run on."""
    asked = asking(
        f"Accept this rename of {name}?",
        "From the next run on the field is found under its new name.",
        "Accept rename",
    )
    return act(
        asked,
        "The rename is accepted.",
        url=url_for("sources.show", name=name),
        verb=lambda by, at: accept_rename(
            db.session, name, drift_id, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<name>/drift/<int:drift_id>/reject")
@requires(Role.OPERATOR)
def reject(name: str, drift_id: int) -> BaseResponse:
    """Do not follow a rename, or no longer."""
    asked = asking(
        f"Reject this rename of {name}?",
        "They are taken for two fields, and the pair is not proposed again.",
        "Reject rename",
    )
    return act(
        asked,
        "The rename is rejected.",
        url=url_for("sources.show", name=name),
        verb=lambda by, at: reject_rename(
            db.session, name, drift_id, by=by, now=at, reason=asked.reason
        ),
    )

"""OFREP's two addresses.  Needs the snapshot, and no database."""

import orjson
from flask import Blueprint, Response, request

from webapp.flags.snapshot import flag_store
from webapp.ofrep.answers import answer_all, answer_one, refused
from webapp.ofrep.documents import failure
from webapp.ofrep.questions import Unreadable
from webapp.ofrep.values import ErrorCode
from webapp.web.access import evaluation, principal
from webapp.web.before_flask import JSON, Answered
from webapp.web.etags import holds

blueprint = Blueprint("ofrep_api", __name__, url_prefix="/ofrep/v1/evaluate")

_NO_JSON = Unreadable(ErrorCode.PARSE_ERROR, f"Send JSON with the content type {JSON}.")


@blueprint.post("/flags/<path:key>")
@evaluation
def evaluate_flag(key: str) -> Response:
    """Decide one flag for the context in the body."""
    body = request.get_data()
    if not request.is_json:
        return _written(refused(key, _NO_JSON))
    return _written(answer_one(flag_store(), key, body, bound=principal().environment))


@blueprint.post("/flags")
@evaluation
def evaluate_flags() -> Response:
    """Decide every flag for the context in the body, unless the asker has that answer."""
    body = request.get_data()
    if not request.is_json:
        return _written(refused(None, _NO_JSON))
    known = holds(request.headers.get("If-None-Match"), request.args.get("flagConfigEtag"))
    bound = principal().environment
    return _written(answer_all(flag_store(), body, bound=bound, known=known))


@blueprint.after_request
def say_in_its_words(response: Response) -> Response:
    """Tell an error in the form that providers read, whoever found it."""
    if response.mimetype == "application/problem+json":
        details = (response.get_json(force=True) or {}).get("detail", "")
        key = (request.view_args or {}).get("key")
        response.set_data(orjson.dumps(failure(key, ErrorCode.GENERAL, details)))
        response.content_type = JSON
    return response


def _written(answer: Answered) -> Response:
    response = Response(answer.body, answer.status, content_type=JSON if answer.body else None)
    response.headers.extend(answer.headers)
    return response

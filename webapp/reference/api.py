"""The document of the JSON API, for programs that read such documents."""

from hashlib import sha256
from typing import Any, Final

import orjson
from flask import Blueprint, Response, current_app, request

from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.openapi import describes, openapi_document

blueprint = Blueprint("reference_api", __name__, url_prefix="/api/v1")

_EXTENSION: Final = "openapi"


@blueprint.get("/openapi.json")
@requires(Role.VIEWER)
@describes({200: dict[str, Any], 304: None})
def document() -> Response:
    """Describe every address of this API as OpenAPI 3.1."""
    body: bytes | None = current_app.extensions.get(_EXTENSION)
    if body is None:
        # Once: it follows from the code and the settings.
        body = current_app.extensions[_EXTENSION] = orjson.dumps(openapi_document(current_app))
    response = Response(body, content_type="application/json")
    response.set_etag(sha256(body).hexdigest()[:20])
    response.make_conditional(request)
    return response

"""Applications that do nothing: the floors under whatever is served over HTTP."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response

from webapp.web.before_flask import OF_JSON

BODY = b'{"status":"ok"}'

flask_app = Flask(__name__)


@flask_app.route("/", methods=["GET", "POST"])
def nothing() -> Response:
    """Answer at once."""
    return Response(BODY, content_type="application/json")


def dressed_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once with the headers of an evaluation: what is left to it under this server."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    length = ("Content-Length", str(len(BODY)))
    start_response("200 OK", [*OF_JSON, ("X-Request-ID", "0" * 32), length])
    return [BODY]


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once, without a framework; the body is read, as any server must."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]
    start_response("200 OK", headers)
    return [BODY]

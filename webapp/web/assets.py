"""Static files under a version, so that they can be cached for a year."""

import hashlib
from pathlib import Path

from flask import Flask, Response, current_app, request, url_for

ONE_YEAR = 31_536_000


def register_assets(app: Flask) -> None:
    """Let templates call ``asset('css/app.css')``."""
    app.extensions["assets"] = {}
    app.jinja_env.globals["asset"] = asset
    app.after_request(_cache)


def asset(path: str) -> str:
    """Return the URL of a static file, with the hash of its content as version.

    Each is made once in a process and mount: a page names some sixty, most of them icons.
    """
    urls: dict[tuple[str, str], str] = current_app.extensions["assets"]
    key = (request.script_root, path)
    if key not in urls:
        urls[key] = url_for("static", filename=path, v=_digest(path))
    return urls[key]


def _digest(path: str) -> str:
    file = Path(current_app.static_folder or "") / path
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else "0"


def _cache(response: Response) -> Response:
    if request.endpoint == "static" and "v" in request.args and response.status_code in {200, 304}:
        response.headers["Cache-Control"] = f"public, max-age={ONE_YEAR}, immutable"
    return response

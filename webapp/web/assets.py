"""Static files under a version, so that they can be cached for a year, and icons out of one."""

import hashlib
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, url_for
from markupsafe import Markup

ONE_YEAR = 31_536_000


def register_assets(app: Flask) -> None:
    """Let templates call ``asset('css/app.css')``; icons are in ``macros/icons.html``."""
    app.extensions["assets"] = {}
    app.jinja_env.globals |= {"asset": asset, "drawn_icon": icon}
    app.after_request(_cache)


def asset(path: str) -> str:
    """Return the URL of a static file, with the hash of its content as version.

    Each is made once in a process and mount.
    """
    made: dict[Any, str] = current_app.extensions["assets"]
    key = (request.script_root, path)
    if key not in made:
        made[key] = url_for("static", filename=path, v=_digest(path))
    return made[key]


def icon(name: str, label: str | None = None, size: str | None = None) -> Markup:
    """Return an icon of the sprite; without a label it only adorns.

    Those that adorn are made once: a long list holds hundreds.
    """
    if label:
        return _draw(name, Markup('role="img" aria-label="{}"').format(label), size)
    made: dict[Any, Markup] = current_app.extensions["assets"]
    key = (request.script_root, name, size)
    if key not in made:
        made[key] = _draw(name, Markup('aria-hidden="true"'), size)
    return made[key]


def _draw(name: str, told: Markup, size: str | None) -> Markup:
    sized = f" icon--{size}" if size else ""
    return Markup('<svg class="icon{}" {} focusable="false"><use href="{}#{}"></use></svg>').format(
        sized, told, asset("vendor/icons.svg"), name
    )


def _digest(path: str) -> str:
    file = Path(current_app.static_folder or "") / path
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else "0"


def _cache(response: Response) -> Response:
    if request.endpoint == "static" and "v" in request.args and response.status_code in {200, 304}:
        response.headers["Cache-Control"] = f"public, max-age={ONE_YEAR}, immutable"
    return response

"""What this capability hands to the application; its menu entry is that of accounts."""

from flask import Flask

from webapp import clock
from webapp.system import api, pages
from webapp.web.capability import Capability


def _note_start(app: Flask) -> None:
    app.extensions["started_at"] = clock.now()


system = Capability(name="system", blueprints=(pages.blueprint, api.blueprint), setup=_note_start)

"""What this capability hands to the application."""

from flask import Flask

from webapp.telemetry.api import blueprint
from webapp.telemetry.standing import StandingBook
from webapp.web.capability import Capability


def _set_up(app: Flask) -> None:
    app.extensions["standing_book"] = StandingBook()


telemetry = Capability(name="telemetry", blueprints=(blueprint,), setup=_set_up)

"""What this capability hands to the application."""

from typing import Final

from flask import Flask

from webapp.alerts import api, control_pages, edit_pages, pages
from webapp.alerts.phrases import limit, measured
from webapp.alerts.queries import firing_count
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry

# Rules and silences stand below the address of alerts.
PAGES: Final = pages.blueprint
for below in (edit_pages, control_pages):
    PAGES.register_blueprint(below.blueprint)


def _register_phrases(app: Flask) -> None:
    """Let templates write what was measured, and where a rule fires."""
    app.jinja_env.globals |= {"alert_measured": measured, "alert_limit": limit}


alerts = Capability(
    name="alerts",
    blueprints=(PAGES, api.blueprint),
    menu=MenuEntry(
        label="Alerts",
        endpoint="alerts.index",
        icon="bell",
        attention=Attention(firing_count),
    ),
    setup=_register_phrases,
)

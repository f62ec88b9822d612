"""What this capability hands to the application."""

from flask import Flask
from sqlalchemy import ScalarSelect

from webapp.breakers.api import blueprint as api
from webapp.breakers.pages import blueprint as pages
from webapp.breakers.queries import open_count
from webapp.breakers.registry import BreakerRegistry, use_registry
from webapp.clock import now
from webapp.settings import Settings
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry


def _open() -> ScalarSelect[int]:
    return open_count(now=now())


def _share_circuits(app: Flask) -> None:
    settings: Settings = app.extensions["settings"]
    use_registry(BreakerRegistry(settings.database_url, settings.redis_url))


breakers = Capability(
    name="breakers",
    blueprints=(pages, api),
    menu=MenuEntry(
        label="Breakers",
        endpoint="breakers.index",
        icon="circuit-switch-open",
        attention=Attention(_open),
    ),
    setup=_share_circuits,
)

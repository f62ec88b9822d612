"""What this capability hands to the application."""

from flask import Flask

from webapp.breakers.api import blueprint as api
from webapp.breakers.pages import blueprint as pages
from webapp.breakers.queries import open_breakers
from webapp.breakers.registry import BreakerRegistry, use_registry
from webapp.clock import now
from webapp.db import DbSession
from webapp.settings import Settings
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry


def _attention(session: DbSession) -> Attention | None:
    count = open_breakers(session, now=now())
    return Attention(count, "danger") if count else None


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
        attention=_attention,
    ),
    setup=_share_circuits,
)

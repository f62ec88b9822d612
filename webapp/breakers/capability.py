"""What this capability hands to the application."""

from flask import Flask

from webapp.breakers.pages import blueprint
from webapp.breakers.queries import open_count
from webapp.breakers.registry import BreakerRegistry, use_registry
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry


def _share_circuits(app: Flask) -> None:
    use_registry(BreakerRegistry(app.extensions["settings"].database_url))


breakers = Capability(
    name="breakers",
    blueprints=(blueprint,),
    menu=MenuEntry(
        label="Breakers",
        endpoint="breakers.index",
        icon="circuit-switch-open",
        attention=Attention(open_count),
    ),
    setup=_share_circuits,
)

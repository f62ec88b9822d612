"""What this capability hands to the application."""

from flask import Flask

from webapp.limits.declarations import declare_rules
from webapp.limits.values import SOURCE_PREFIX
from webapp.sources import drift_pages, edit_pages, pages
from webapp.sources.api import blueprint as api
from webapp.sources.drift_api import blueprint as drift_api
from webapp.sources.drift_queries import held_renames
from webapp.sources.queries import rate_limits
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry


def _declare_limits(app: Flask) -> None:
    del app
    declare_rules(SOURCE_PREFIX, rate_limits())


sources = Capability(
    name="sources",
    setup=_declare_limits,
    blueprints=(
        *dict.fromkeys(module.blueprint for module in (pages, edit_pages, drift_pages)),
        api,
        drift_api,
    ),
    menu=MenuEntry(
        label="Sources",
        endpoint="sources.index",
        icon="database-import",
        # A rename that nobody decides leaves a field empty.
        attention=Attention(held_renames, tone="warning"),
    ),
)

"""What this capability hands to the application."""

from flask import Flask

from webapp.limits.declarations import declare_rules
from webapp.limits.values import SOURCE_PREFIX
from webapp.sources import edit_pages, pages
from webapp.sources.api import blueprint as api
from webapp.sources.queries import rate_limits
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry


def _declare_limits(app: Flask) -> None:
    del app
    declare_rules(SOURCE_PREFIX, rate_limits())


sources = Capability(
    name="sources",
    setup=_declare_limits,
    blueprints=(*dict.fromkeys(module.blueprint for module in (pages, edit_pages)), api),
    menu=MenuEntry(label="Sources", endpoint="sources.index", icon="database-import"),
)

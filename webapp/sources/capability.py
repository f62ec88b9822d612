"""What this capability hands to the application."""

from webapp.sources import edit_pages, pages
from webapp.sources.api import blueprint as api
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

sources = Capability(
    name="sources",
    blueprints=(*dict.fromkeys(module.blueprint for module in (pages, edit_pages)), api),
    menu=MenuEntry(label="Sources", endpoint="sources.index", icon="database-import"),
)

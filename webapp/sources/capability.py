"""What this capability hands to the application."""

from webapp.sources import edit_pages, pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

sources = Capability(
    name="sources",
    blueprints=tuple(dict.fromkeys(module.blueprint for module in (pages, edit_pages))),
    menu=MenuEntry(label="Sources", endpoint="sources.index", icon="database-import"),
)

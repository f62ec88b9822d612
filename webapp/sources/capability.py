"""What this capability hands to the application."""

from webapp.sources.pages import blueprint
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

sources = Capability(
    name="sources",
    blueprints=(blueprint,),
    menu=MenuEntry(label="Sources", endpoint="sources.index", icon="database-import"),
)

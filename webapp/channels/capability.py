"""What this capability hands to the application."""

from webapp.channels.api import blueprint as api
from webapp.channels.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

channels = Capability(
    name="channels",
    blueprints=(pages, api),
    menu=MenuEntry(label="Channels", endpoint="channels.index", icon="bell"),
)

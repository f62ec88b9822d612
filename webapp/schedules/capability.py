"""What this capability hands to the application."""

from webapp.schedules.api import blueprint as api
from webapp.schedules.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

schedules = Capability(
    name="schedules",
    blueprints=(pages, api),
    menu=MenuEntry(label="Schedules", endpoint="schedules.index", icon="calendar-time"),
)

"""What this capability hands to the application."""

from webapp.overview.api import blueprint as api
from webapp.overview.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

overview = Capability(
    name="overview",
    blueprints=(pages, api),
    menu=MenuEntry(label="Overview", endpoint="overview.index", icon="layout-dashboard"),
)

"""What this capability hands to the application."""

from webapp.reports.api import blueprint as api
from webapp.reports.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

reports = Capability(
    name="reports",
    blueprints=(pages, api),
    menu=MenuEntry(label="Reports", endpoint="reports.index", icon="file-analytics"),
)

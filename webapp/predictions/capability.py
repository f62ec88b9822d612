"""What this capability hands to the application."""

from webapp.predictions.api import blueprint as api
from webapp.predictions.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

predictions = Capability(
    name="predictions",
    blueprints=(pages, api),
    menu=MenuEntry(label="Models", endpoint="predictions.index", icon="chart-dots-3"),
)

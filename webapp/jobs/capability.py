"""What this capability hands to the application."""

from webapp.jobs import api, bulk_api, control_api
from webapp.jobs.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

jobs = Capability(
    name="jobs",
    blueprints=(pages, api.blueprint, bulk_api.blueprint, control_api.blueprint),
    menu=MenuEntry(label="Jobs", endpoint="jobs.index", icon="stack-2"),
)

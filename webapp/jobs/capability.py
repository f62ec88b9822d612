"""What this capability hands to the application."""

from webapp.jobs.api import blueprint as api
from webapp.jobs.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

jobs = Capability(
    name="jobs",
    blueprints=(pages, api),
    menu=MenuEntry(label="Jobs", endpoint="jobs.index", icon="stack-2"),
)

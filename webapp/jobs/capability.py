"""What this capability hands to the application."""

from webapp.jobs.api import blueprint as api
from webapp.jobs.batch_api import blueprint as batch_api
from webapp.jobs.batch_pages import blueprint as batch_pages
from webapp.jobs.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

jobs = Capability(
    name="jobs",
    blueprints=(pages, batch_pages, api, batch_api),
    menu=MenuEntry(label="Jobs", endpoint="jobs.index", icon="stack-2"),
)

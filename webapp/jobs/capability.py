"""What this capability hands to the application."""

from webapp.jobs import (
    action_pages,
    api,
    batch_api,
    batch_pages,
    bulk_api,
    control_api,
    control_pages,
    edit_pages,
    pages,
)
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

# Four modules add their views to one blueprint.
PAGES = dict.fromkeys(
    module.blueprint for module in (pages, edit_pages, action_pages, control_pages)
)

jobs = Capability(
    name="jobs",
    blueprints=(
        *PAGES,
        batch_pages.blueprint,
        api.blueprint,
        batch_api.blueprint,
        bulk_api.blueprint,
        control_api.blueprint,
    ),
    menu=MenuEntry(label="Jobs", endpoint="jobs.index", icon="stack-2"),
)

"""What this capability hands to the application."""

from sqlalchemy import ScalarSelect

from webapp.clock import now
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry
from webapp.web.requests import current_settings
from webapp.workers.api import blueprint as api
from webapp.workers.commands import worker
from webapp.workers.pages import blueprint as pages
from webapp.workers.queries import alive_count


def _alive() -> ScalarSelect[int]:
    return alive_count(now=now())


workers = Capability(
    name="workers",
    blueprints=(pages, api),
    menu=MenuEntry(
        label="Workers",
        endpoint="workers.index",
        icon="server-2",
        # None at all is what wants attention, where there are to be some.
        attention=Attention(
            _alive, wanted=lambda count: not count and current_settings().has_workers
        ),
    ),
    commands=(worker,),
)

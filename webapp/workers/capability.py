"""What this capability hands to the application."""

from webapp.clock import now
from webapp.db import DbSession
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry
from webapp.workers.api import blueprint as api
from webapp.workers.commands import worker
from webapp.workers.pages import blueprint as pages
from webapp.workers.queries import count_alive


def _attention(session: DbSession) -> Attention | None:
    return None if count_alive(session, now=now()) else Attention(0, "danger")


workers = Capability(
    name="workers",
    blueprints=(pages, api),
    menu=MenuEntry(
        label="Workers", endpoint="workers.index", icon="server-2", attention=_attention
    ),
    commands=(worker,),
)

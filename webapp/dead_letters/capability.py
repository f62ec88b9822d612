"""What this capability hands to the application."""

from webapp.db import DbSession
from webapp.dead_letters.api import blueprint as api
from webapp.dead_letters.pages import blueprint as pages
from webapp.dead_letters.queries import count_open
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry


def _attention(session: DbSession) -> Attention | None:
    count = count_open(session)
    return Attention(count, "danger") if count else None


dead_letters = Capability(
    name="dead_letters",
    blueprints=(pages, api),
    menu=MenuEntry(
        label="Dead letters",
        endpoint="dead_letters.index",
        icon="mail-x",
        attention=_attention,
    ),
)

"""What this capability hands to the application."""

from webapp.dead_letters.api import blueprint as api
from webapp.dead_letters.figures import open_count
from webapp.dead_letters.pages import blueprint as pages
from webapp.web.capability import Capability
from webapp.web.menu import Attention, MenuEntry

dead_letters = Capability(
    name="dead_letters",
    blueprints=(pages, api),
    menu=MenuEntry(
        label="Dead letters",
        endpoint="dead_letters.index",
        icon="mail-x",
        attention=Attention(open_count),
    ),
)

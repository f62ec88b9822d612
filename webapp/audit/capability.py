"""What this capability hands to the application."""

from webapp.audit.commands import audit_commands
from webapp.audit.pages import blueprint
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

audit = Capability(
    name="audit",
    blueprints=(blueprint,),
    menu=MenuEntry(label="Audit", endpoint="audit.index", icon="history"),
    commands=(audit_commands,),
)

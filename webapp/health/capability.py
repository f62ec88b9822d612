"""What this capability hands to the application."""

from webapp.health.api import blueprint
from webapp.web.capability import Capability

health = Capability(name="health", blueprints=(blueprint,))

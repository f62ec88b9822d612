"""What this capability hands to the application."""

from webapp.unleash import api
from webapp.web.capability import Capability

unleash = Capability(name="unleash", blueprints=(api.blueprint,))

"""What this capability hands to the application."""

from webapp.adoptions import api
from webapp.web.capability import Capability

adoptions = Capability(name="adoptions", blueprints=(api.blueprint,))

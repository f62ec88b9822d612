"""What this capability hands to the application."""

from webapp.adoptions import api, pages
from webapp.web.capability import Capability

adoptions = Capability(name="adoptions", blueprints=(pages.blueprint, api.blueprint))

"""What this capability hands to the application."""

from webapp.reference import api, pages
from webapp.web.capability import Capability

reference = Capability(name="reference", blueprints=(pages.blueprint, api.blueprint))

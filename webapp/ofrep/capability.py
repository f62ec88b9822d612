"""What this capability hands to the application."""

from webapp.ofrep import api
from webapp.ofrep.short_cut import register_short_cut
from webapp.web.capability import Capability

ofrep = Capability(name="ofrep", blueprints=(api.blueprint,), setup=register_short_cut)

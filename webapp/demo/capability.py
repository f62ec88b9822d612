"""What this capability hands to the application."""

from webapp.demo.api import blueprint
from webapp.web.capability import Capability

demo = Capability(name="demo", blueprints=(blueprint,))

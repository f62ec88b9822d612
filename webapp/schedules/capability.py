"""What this capability hands to the application."""

from webapp.schedules.api import blueprint as api
from webapp.web.capability import Capability

schedules = Capability(name="schedules", blueprints=(api,))

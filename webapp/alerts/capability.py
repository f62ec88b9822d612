"""What this capability hands to the application."""

from webapp.alerts.api import blueprint as api
from webapp.web.capability import Capability

alerts = Capability(name="alerts", blueprints=(api,))

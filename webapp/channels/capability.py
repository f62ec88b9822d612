"""What this capability hands to the application; its menu entry is that of accounts."""

from webapp.channels.api import blueprint as api
from webapp.channels.pages import blueprint as pages
from webapp.web.capability import Capability

channels = Capability(name="channels", blueprints=(pages, api))

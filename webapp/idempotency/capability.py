"""What this capability hands to the application."""

from webapp.idempotency.api import take_keys
from webapp.idempotency.pages import blueprint
from webapp.web.capability import Capability

idempotency = Capability(name="idempotency", blueprints=(blueprint,), setup=take_keys)

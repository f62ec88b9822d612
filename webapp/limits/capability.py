"""What this capability hands to the application."""

from flask import Flask

from webapp.limits.api import blueprint
from webapp.limits.registry import LimitRegistry, use_registry
from webapp.limits.values import Rule
from webapp.settings import Settings
from webapp.web.capability import Capability


def _share_limits(app: Flask) -> None:
    settings: Settings = app.extensions["settings"]
    api = Rule(settings.api_rate_limit_calls, settings.api_rate_limit_period)
    use_registry(LimitRegistry(settings.database_url, settings.redis_url, api))


limits = Capability(name="limits", blueprints=(blueprint,), setup=_share_limits)

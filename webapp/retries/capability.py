"""What this capability hands to the application."""

from flask import Flask

from webapp.retries.attempts import use_default_config
from webapp.retries.values import RetryConfig
from webapp.settings import Settings
from webapp.web.capability import Capability


def _use_settings(app: Flask) -> None:
    settings: Settings = app.extensions["settings"]
    use_default_config(
        RetryConfig(
            max_attempts=settings.retry_max_attempts,
            initial_delay=settings.retry_wait_min,
            max_delay=settings.retry_wait_max,
        )
    )


retries = Capability(name="retries", setup=_use_settings)

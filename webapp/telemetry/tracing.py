"""Whether this installation is traced, and by what.

Imports nothing of OpenTelemetry itself: without an endpoint nobody pays for it.
"""

from importlib import import_module

from flask import Flask

from webapp.settings import Settings


def register_traces(app: Flask, settings: Settings) -> None:
    """Trace what an application does, where there is somebody to send it to."""
    if settings.otlp_endpoint:
        # Only now: it loads the SDK and what instruments others.
        import_module("webapp.telemetry.spans").trace(app)

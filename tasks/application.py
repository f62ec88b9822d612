"""The one application of a process, for the web server, the consumer and the commands alike."""

from functools import cache

from flask import Flask

from webapp.app import create_app
from webapp.settings import Settings, SettingsError


@cache
def application() -> Flask:
    """Build the application from the environment, once; end the process where it is invalid."""
    try:
        return create_app(Settings.from_environment())
    except SettingsError as error:
        # A list of what to mend helps whoever starts this; a traceback would bury it.
        raise SystemExit(str(error)) from None

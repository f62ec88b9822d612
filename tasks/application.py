"""The one application of a process, for the web server, the consumer and the commands alike."""

from functools import cache

from flask import Flask

from webapp.app import create_app
from webapp.logs import configure_logs, get_logger, is_command
from webapp.settings import Settings, SettingsError

log = get_logger(__name__)
#: The status of a server that cannot start; gunicorn ends upon it, and starts no further process.
CANNOT_START = 3


@cache
def application() -> Flask:
    """Build the application from the environment, once; end the process where it is invalid."""
    try:
        return create_app(Settings.from_environment())
    except SettingsError as error:
        # A list of what to mend helps whoever starts this; a traceback would bury it.
        if is_command():
            raise SystemExit(str(error)) from None
        configure_logs("INFO")
        log.critical("settings_invalid", problems=error.problems)
        raise SystemExit(CANNOT_START) from None

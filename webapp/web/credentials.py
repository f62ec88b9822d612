"""Tokens as the SDKs of others show them: turned into bearer tokens before anybody looks.

OpenFeature's providers may send ``X-API-Key: TOKEN``, those of Unleash ``Authorization: TOKEN``,
without a scheme.  Below their addresses only: elsewhere a token is a bearer token or none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from webapp.web.before_flask import stand_before

#: What OpenFeature's providers ask.
OFREP: Final = "/ofrep/"
#: What the SDKs of Unleash ask.
UNLEASH: Final = "/api/client/"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A WSGI application before another, which knows bearer tokens only."""

    behind: WSGIApplication

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand a request on with its token where a bearer token is looked for."""
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(OFREP):
            shown = "" if environ.get("HTTP_AUTHORIZATION") else environ.get("HTTP_X_API_KEY", "")
            _show(shown, environ)
        elif path.startswith(UNLEASH):
            _show(environ.get("HTTP_AUTHORIZATION", ""), environ)
        return self.behind(environ, start_response)


def register_credentials(app: Flask) -> None:
    """Read tokens of others.  After whatever answers before Flask: that looks for tokens too."""
    stand_before(app, Credentials)


def _show(token: str, environ: WSGIEnvironment) -> None:
    """Make a token that comes without a scheme a bearer token; one with a scheme stays."""
    token = token.strip()
    if token and " " not in token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"

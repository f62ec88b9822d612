"""Older addresses of the JSON API: ``/v1/...`` is ``/api/v1/...``, for clients that know only that.

The path is changed before anything looks at it, so there is no second set of addresses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from webapp.web.access import API_PREFIX

_OLD: Final = "/v1/"


@dataclass(frozen=True, slots=True)
class Aliases:
    """A WSGI application before another, which knows the newer addresses only."""

    behind: WSGIApplication

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand a request on, under its newer address."""
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(_OLD):
            environ["PATH_INFO"] = API_PREFIX + path.removeprefix(_OLD)
        return self.behind(environ, start_response)


def register_aliases(app: Flask) -> None:
    """Let older addresses be asked.

    Registered before what answers evaluations ahead of Flask: those by older addresses go the long
    way, and those by newer ones pay nothing for them.
    """
    app.wsgi_app = Aliases(app.wsgi_app)  # type: ignore[method-assign]

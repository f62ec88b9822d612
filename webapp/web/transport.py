"""Which requests are answered at all: over HTTPS where that is demanded, and under our own names.

What counts of a proxy's headers is settled before anything here is asked, see ``register_proxies``.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from wsgiref.types import WSGIEnvironment

from flask import Flask, current_app, redirect, request
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as BaseResponse

from webapp.errors import Forbidden
from webapp.settings import ANY_HOST, Settings

# Asked by supervisors and collectors, by address and from inside; none of them tells a secret.
PROBES: Final = frozenset({"/health", "/ready", "/metrics", "/observability/metrics"})

_EXTENSION: Final = "transport"
_DEFAULT_PORT: Final = 443
_HOST: Final = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)
# What a path may hold besides letters and digits (RFC 3986, 3.3).
_IN_PATH: Final = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Transport:
    """How requests must come; ``hosts`` is None where any name will do."""

    https: bool
    strict: bool
    port: int
    hosts: frozenset[str] | None

    def admits(self, environ: WSGIEnvironment) -> bool:
        """Tell whether a request came as it must."""
        return (not self.https or environ["wsgi.url_scheme"] == "https") and (
            self.hosts is None or host_name(environ) in self.hosts
        )


def transport_of(settings: Settings) -> Transport:
    """Return how requests must come by these settings."""
    names = frozenset(settings.allowed_hosts)
    return Transport(
        https=settings.https,
        strict=settings.https_strict,
        port=settings.https_port,
        hosts=names if names and ANY_HOST not in names else None,
    )


def register_transport(app: Flask, settings: Settings) -> None:
    """Redirect or refuse what came otherwise, before anything else is decided about it."""
    app.extensions[_EXTENSION] = transport_of(settings)
    app.before_request(_turn_away)


def host_name(environ: WSGIEnvironment) -> str | None:
    """Return the name that a request was sent to, without its port; None where that is none."""
    found = _HOST.fullmatch(environ.get("HTTP_HOST") or environ["SERVER_NAME"])
    return found[1].lower() if found else None


def _turn_away() -> BaseResponse | None:
    transport: Transport = current_app.extensions[_EXTENSION]
    if request.path in PROBES or transport.admits(request.environ):
        return None
    name = host_name(request.environ)
    if name is None or (transport.hosts is not None and name not in transport.hosts):
        raise BadRequest("The console is not served under this host name.")
    if transport.strict:
        raise Forbidden("This is answered over HTTPS only.")
    return redirect(_secure_url(request.environ, name, transport.port), code=301)


def _secure_url(environ: WSGIEnvironment, name: str, port: int) -> str:
    """Return the address that was asked for, over HTTPS."""
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    query = environ.get("QUERY_STRING", "").encode("latin-1")
    at_port = "" if port == _DEFAULT_PORT else f":{port}"
    asked = f"https://{name}{at_port}{quote(path, safe=_IN_PATH)}"
    return f"{asked}?{quote(query, safe=_IN_PATH + '?%[]')}" if query else asked

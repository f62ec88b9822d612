"""Who asks, and whether this route is open to them.

Every view says what it demands with :func:`requires` or :func:`public`; one that says nothing is
refused to everybody.  A program shows a bearer token, a person a session cookie; what a token is
worth is decided by the authenticator that accounts register at start.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, TypeVar, cast

from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from flask_login import current_user
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response as BaseResponse

from webapp.actors import Actor
from webapp.errors import Forbidden
from webapp.roles import Role
from webapp.web.htmx import wants_part
from webapp.web.requests import SAFE_METHODS, current_settings

View = TypeVar("View", bound=Callable[..., object])
PUBLIC = "public"
EVALUATION = "evaluation"
# The configuration of an application that has no pages.
PROGRAMS_ONLY = "PROGRAMS_ONLY"
# For people, though it stands below the addresses of programs.
API_PREFIX = "/api/v1/"
API_PAGE = "/api/docs"


class Principal(NamedTuple):
    """Whoever asks: ``kind`` is user, token or anonymous; ``name`` is what the audit shows.

    A user is signed in, or shows an access token that was signed for them.  ``environment`` and
    ``expires_at`` are those of a token.  One is made for each request, and a
    tuple is made in a third of a frozen dataclass's time.
    """

    kind: str
    name: str
    role: Role | None
    environment: str | None = None
    expires_at: datetime | None = None


ANONYMOUS = Principal("anonymous", "anonymous", None)
Authenticator = Callable[[str], Principal | None]


def requires(role: Role) -> Callable[[View], View]:
    """Open a view to whoever has at least ``role``."""

    def mark(view: View) -> View:
        view.access = role  # type: ignore[attr-defined]
        return view

    return mark


def public(view: View) -> View:
    """Open a view to everybody."""
    view.access = PUBLIC  # type: ignore[attr-defined]
    return view


def evaluation(view: View) -> View:
    """Open a view to viewers, and to everybody where public evaluation is switched on."""
    view.access = EVALUATION  # type: ignore[attr-defined]
    return view


def principal() -> Principal:
    """Return whoever makes this request."""
    if "principal" not in g:
        g.principal = _identify()
    return cast("Principal", g.principal)


def actor() -> Actor:
    """Return whoever makes this request, as services and the audit want it."""
    who = principal()
    return Actor(who.kind, who.name, g.get("request_id"))


def bearer_token() -> str | None:
    """Return the token that the request carries, or None."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else None


def _identify() -> Principal:
    token = bearer_token()
    if token is not None:
        authenticate: Authenticator = current_app.extensions["authenticator"]
        return authenticate(token) or ANONYMOUS
    if hasattr(current_app, "login_manager") and current_user.is_authenticated:
        return Principal("user", current_user.username, Role(current_user.role))
    return ANONYMOUS


def is_api_request() -> bool:
    """Tell whether the answer is for a program."""
    path = request.path
    return current_app.config.get(PROGRAMS_ONLY, False) or (
        path.startswith(("/api/", "/v1/", "/ofrep/", "/metrics", "/observability/", "/stats"))
        and path != API_PAGE
    )


def register_access(app: Flask) -> None:
    """Check every request before its view runs."""
    app.extensions.setdefault("authenticator", _know_nobody)
    app.jinja_env.globals["may"] = may
    app.before_request(_check)


def _know_nobody(token: str) -> None:
    """Stand in where no capability knows tokens."""
    del token


def may(role: str) -> bool:
    """Tell a template whether whoever asks has at least this role, so that it offers no more."""
    who = principal().role
    return who is not None and who.allows(Role(role))


def is_open() -> bool:
    """Tell whether whoever asks has the role that this view demands."""
    access = getattr(current_app.view_functions.get(request.endpoint or ""), "access", None)
    who = principal().role
    return who is not None and access in set(Role) and who.allows(Role(access))


def _check() -> BaseResponse | None:
    if request.endpoint is None or request.endpoint == "static":
        return None
    access = getattr(current_app.view_functions[request.endpoint], "access", None)
    if access == PUBLIC or (access == EVALUATION and current_settings().public_evaluation):
        return None
    who = principal()
    if who.role is None:
        return _demand_sign_in()
    if access is None:
        message = "This address says of nobody that they may use it."
        raise Forbidden(message)
    needed = Role.VIEWER if access == EVALUATION else Role(access)
    if not who.role.allows(needed):
        message = f"This needs the role {needed}; {who.name} is {who.role}."
        raise Forbidden(message)
    by_cookie = who.kind == "user" and bearer_token() is None
    if by_cookie and (request.method not in SAFE_METHODS or not wants_part()):
        # What a person does keeps the session alive; what a tab asks by itself does not.
        session.modified = True
    return None


def _demand_sign_in() -> BaseResponse:
    """Send a person to the sign-in page, and tell a program that it needs a token."""
    if is_api_request():
        raise Unauthorized(www_authenticate=None)
    back = request.full_path.rstrip("?") if request.method == "GET" else "/"
    target = url_for("accounts.sign_in", next=back)
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": url_for("accounts.sign_in", next="/")})
    return redirect(target)

"""Headers, cookies and CSRF: what a browser may do with our answers."""

from hashlib import sha256

from flask import Flask, Response, current_app, request
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp.settings import Settings
from webapp.web.access import PROGRAMS_ONLY, bearer_token, is_api_request, is_open
from webapp.web.requests import SAFE_METHODS, most_form_bytes, refuse_nul, texts_of

csrf = CSRFProtect()

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ONE_YEAR = 31_536_000
STRICT_TRANSPORT = ("Strict-Transport-Security", f"max-age={ONE_YEAR}; includeSubDomains; preload")
UNCACHED = ("Cache-Control", "no-cache, private")
MOST_BYTES = 1024 * 1024


def register_security(app: Flask, settings: Settings) -> None:
    """Set cookies, CSRF and the headers of every answer."""
    app.config.update(
        SECRET_KEY=settings.secret_key,
        # Cookies know no ports: two consoles on one host must not sign each other out.
        SESSION_COOKIE_NAME=f"switchyard_{sha256(settings.secret_key.encode()).hexdigest()[:8]}",
        # Else every poll of a forgotten tab would count as activity, see ``register_access``.
        SESSION_REFRESH_EACH_REQUEST=False,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.https,
        PERMANENT_SESSION_LIFETIME=settings.session_idle_seconds,
        # A page that was left open over lunch must still work; the session's end is limit enough.
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_SSL_STRICT=settings.https,
        MAX_CONTENT_LENGTH=MOST_BYTES,
        # A form may hold two lists of 10,000 subject ids.
        MAX_FORM_MEMORY_SIZE=MOST_BYTES,
    )
    csrf.init_app(app)
    app.before_request(_widen_form)
    app.before_request(_check_csrf)
    app.after_request(_harden)


def register_proxies(app: Flask, settings: Settings) -> None:
    """Believe so many proxies.  Registered last: whatever stands before Flask is behind this."""
    if hops := settings.trusted_hops:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )


def _widen_form() -> None:
    """Lift the limit of a form where the view says so, for whoever may use that view.

    The form holds the token that the next check looks for, so it is read before access is checked:
    of anybody else no more is read than anywhere.
    """
    most_bytes = most_form_bytes()
    if most_bytes is None or request.method in SAFE_METHODS:
        return
    if is_open():
        request.max_content_length = request.max_form_memory_size = most_bytes
    refuse_nul(*texts_of(request.form))


def _check_csrf() -> None:
    """Demand the form token of every write that a browser could have been tricked into.

    A browser adds a cookie by itself and an Authorization header never: a request that shows a
    token was meant, and so was one to the API that brings no session.
    """
    if request.endpoint is None or request.method in SAFE_METHODS or bearer_token() is not None:
        return
    if is_api_request() and not _shows_session():
        return
    csrf.protect()


def _shows_session() -> bool:
    """Tell whether a browser may have added a session; where there are no pages nobody has one."""
    config = current_app.config
    return not config.get(PROGRAMS_ONLY) and config["SESSION_COOKIE_NAME"] in request.cookies


def _harden(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers[STRICT_TRANSPORT[0]] = STRICT_TRANSPORT[1]
    if request.endpoint != "static":
        response.headers.setdefault(*UNCACHED)
    return response

"""Pages and their live parts: which of the two an htmx request gets, and toasts."""

import hashlib
import json
import re
from typing import Any

from flask import Flask, Response, flash, make_response, redirect, render_template, request
from htmx_flask import Htmx
from werkzeug.wrappers import Response as BaseResponse

from webapp.errors import Conflict, DomainError

htmx = Htmx()

# A page and its parts have one address.
VARY = ("HX-Request", "HX-Target")
_TIME_WORDS = re.compile(r"(<time\b[^>]*>)[^<]*")


def register_htmx(app: Flask) -> None:
    """Read htmx's request headers."""
    htmx.init_app(app)
    app.after_request(_vary)


def partial_id(template: str) -> str:
    """Return the id of a partial's root element: ``jobs/_table.html`` has ``jobs-table``."""
    return template.removesuffix(".html").replace("/_", "-").replace("/", "-").replace("_", "-")


def wants_part() -> bool:
    """Tell whether this request asks for a part of a page: not plain, boosted or history."""
    headers = request.headers
    return (
        headers.get("HX-Request") == "true"
        and headers.get("HX-Boosted") != "true"
        and headers.get("HX-History-Restore-Request") != "true"
    )


def render(page: str, /, *partials: str, status: int = 200, **context: Any) -> Response:
    """Render the partial that the request aims at, else the whole page, from one context.

    An answer bears an ETag, and is 304 without a body where the asker has it already.
    """
    template = page
    if wants_part():
        target = request.headers.get("HX-Target", "")
        template = next((part for part in partials if partial_id(part) == target), page)
    response = make_response(render_template(template, **context), status)
    if request.method == "GET" and template != page:
        response.set_etag(_digest(response.get_data(as_text=True)), weak=True)
        response.make_conditional(request)
    return response


def _digest(body: str) -> str:
    """Hash a partial without the words of its relative times: the page counts those by itself, so
    that "3 s ago" becoming "5 s ago" is no news.
    """
    return hashlib.sha256(_TIME_WORDS.sub(r"\1", body).encode()).hexdigest()[:20]


def done(text: str, *, url: str, tone: str = "success") -> BaseResponse:
    """Answer an action: a toast and a refresh for htmx, a flashed message and a redirect else."""
    if wants_part():
        return with_toast(Response(status=204), text, tone=tone)
    flash(text, tone)
    return redirect(url, code=303)


def go_to(url: str, text: str) -> BaseResponse:
    """Go to a page with a message, for htmx as well, where a whole page's form was sent."""
    if not wants_part():
        return done(text, url=url)
    flash(text, "success")
    return Response(status=204, headers={"HX-Redirect": url})


def refused_status(error: DomainError) -> int:
    """Return the status of a refused form; htmx puts in place what comes with 422 only."""
    return 409 if isinstance(error, Conflict) and not wants_part() else 422


def with_toast(response: Response, text: str, *, tone: str = "success") -> Response:
    """Have htmx show a toast with this answer, and the live parts ask anew."""
    told = {"toast": {"tone": tone, "text": text}, "refresh-live": True}
    response.headers["HX-Trigger"] = json.dumps(told)
    return response


def _vary(response: Response) -> Response:
    if request.endpoint != "static":
        response.vary.update(VARY)
    return response

"""Where in a list a request stands, and the addresses of its neighbouring pages."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask, request

from webapp.db import MOST_ID
from webapp.paging import MOST_SKIPPED, Cursor, Page

MOST_SEARCHED = 200


def register_cursors(app: Flask) -> None:
    """Let templates call ``url_with({"state": "dead", "before": none})``."""
    app.jinja_env.globals["url_with"] = url_with


def read_search(most: int = MOST_SEARCHED) -> str:
    """Read what is searched for; SQLite refuses patterns that are much longer than the default."""
    return request.args.get("q", "").strip()[:most]


def read_skip(most: int = MOST_SKIPPED) -> int:
    """Read how far into a list a page lies; what is no number counts as its beginning."""
    return min(max(0, request.args.get("skip", 0, type=int)), most)


def read_cursor(*, oldest_first: bool = False) -> Cursor:
    """Read ``before`` and ``after`` from the query; what is no row's id counts as absent."""
    return Cursor(
        before=request.args.get("before", type=_row_id),
        after=request.args.get("after", type=_row_id),
        oldest_first=oldest_first,
    )


def neighbours(page: Page[Any]) -> dict[str, Any]:
    """Return the addresses of the pages before and after, as ``pager`` takes them."""
    newer = _at(page.newer, "after") if page.newer is not None else None
    older = _at(page.older, "before") if page.older is not None else None
    previous_url, next_url = (older, newer) if page.oldest_first else (newer, older)
    return {"previous_url": previous_url, "next_url": next_url}


def url_with(changes: Mapping[str, object], path: str | None = None) -> str:
    """Return the present address, or another path, with some of its query changed; None drops one.

    Written out here, since ``url_for`` takes some names for options of its own, and a query's
    names are whatever somebody typed.
    """
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in changes]
    new = [(name, value) for name, value in changes.items() if value is not None]
    query = urlencode([*kept, *new])
    path = path or quote(request.path)
    return f"{path}?{query}" if query else path


def _at(row_id: int, cursor: str) -> str:
    return url_with({"before": None, "after": None} | {cursor: row_id})


def _row_id(text: str) -> int:
    value = int(text[:20])
    if not 0 < value <= MOST_ID:
        raise ValueError(text)
    return value

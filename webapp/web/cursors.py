"""Where in a list a request stands, and the addresses of its neighbouring pages."""

from typing import Any

from flask import request, url_for

from webapp.paging import Cursor, Page


def read_cursor() -> Cursor:
    """Read ``before`` and ``after`` from the query; what is no number counts as absent."""
    return Cursor(
        before=request.args.get("before", type=int), after=request.args.get("after", type=int)
    )


def neighbours(page: Page[Any]) -> dict[str, Any]:
    """Return the addresses of the pages before and after, as ``pager`` takes them."""
    return {
        "previous_url": _at(after=page.newer) if page.newer is not None else None,
        "next_url": _at(before=page.older) if page.older is not None else None,
    }


def _at(**cursor: int) -> str:
    values: dict[str, Any] = dict(request.args.items()) | (request.view_args or {})
    values = {name: value for name, value in values.items() if name not in {"before", "after"}}
    return url_for(request.endpoint or "", **(values | cursor))

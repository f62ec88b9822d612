"""JSON answers: read-only mappings, times in UTC and numbers as they are.  Knows no capability."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """Write a body as JSON; times are RFC 3339."""
    data = orjson.dumps(body, default=_written, option=_OPTIONS)
    return Response(data, status, content_type="application/json")


def _written(value: Any) -> Any:
    """Write what orjson does not know: read-only mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")

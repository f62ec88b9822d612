"""JSON answers: read-only mappings, times in UTC and numbers as they are.  Knows no capability."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """Write a body as JSON; times are RFC 3339."""
    try:
        data = orjson.dumps(body, default=_written, option=_OPTIONS)
    except orjson.JSONEncodeError:
        # A whole number beyond 64 bits, as arguments may have: slower, and exact.
        data = json.dumps(body, default=_written_in_full, ensure_ascii=False).encode()
    return Response(data, status, content_type="application/json")


def _written(value: Any) -> Any:
    """Write what orjson does not know: read-only mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _written_in_full(value: Any) -> Any:
    """Write what the standard library does not know either: times."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _written(value)

"""JSON answers: read-only mappings, times in UTC and numbers as they are.  Knows no capability."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from flask import Response

from webapp.moments import rfc3339

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """Write a body as JSON; times are RFC 3339, integers of any size exact."""
    try:
        data = orjson.dumps(body, default=_written, option=_OPTIONS)
    except TypeError:
        # An integer of more than 64 bits, or half a character: the slower writer takes both.
        data = json.dumps(body, default=_as_text).encode()
    return Response(data, status, content_type="application/json")


def shown_once(answer: Response) -> Response:
    """Say that an answer holds a secret: nobody on its way may keep it, and no idempotency key."""
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    return _written(value)


def _written(value: Any) -> Any:
    """Write what orjson does not know: read-only mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")

"""What OFREP asks with: the context in a body, read strictly, by its codes where it cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from webapp.flags.values import MAX_ID
from webapp.ofrep.values import ErrorCode

_KEY: Final = "targetingKey"


@dataclass(frozen=True, slots=True)
class Asked:
    """About whom flags are asked, and what is known of them."""

    subject: str | None
    attributes: Mapping[str, Any]


class Unreadable(Exception):
    """A body that asks nothing that can be answered."""

    def __init__(self, code: ErrorCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class _Body(BaseModel):
    """The body of a question.  What else it may hold is for later versions of the protocol."""

    model_config = ConfigDict(strict=True, extra="ignore", defer_build=True)

    context: dict[str, Any]


def read_question(body: bytes) -> Asked:
    """Read a body; raises :class:`Unreadable`."""
    try:
        context = _Body.model_validate_json(body).context
    except ValidationError as error:
        raise _unreadable(error) from None
    key = context.pop(_KEY, None)
    if key is not None and not isinstance(key, str):
        raise Unreadable(ErrorCode.INVALID_CONTEXT, f"{_KEY} must be a text.")
    if key is not None and len(key) > MAX_ID:
        raise Unreadable(ErrorCode.INVALID_CONTEXT, f"{_KEY} has at most {MAX_ID} characters.")
    return Asked(key or None, context)


def _unreadable(error: ValidationError) -> Unreadable:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Unreadable(ErrorCode.PARSE_ERROR, f"The body is not JSON: {first['msg']}.")
    if not first["loc"]:
        return Unreadable(ErrorCode.PARSE_ERROR, "The body must be a JSON object.")
    if first["type"] == "missing":
        return Unreadable(ErrorCode.INVALID_CONTEXT, "The body must have a context.")
    return Unreadable(ErrorCode.INVALID_CONTEXT, "The context must be a JSON object.")

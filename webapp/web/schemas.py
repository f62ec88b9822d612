"""The typed edge: bodies and queries become pydantic models, and errors name their fields."""

import json
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from webapp.errors import Invalid

Model = TypeVar("Model", bound=BaseModel)


class Schema(BaseModel):
    """Base of every request schema: strict types, unknown fields refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def read_json(model: type[Model]) -> Model:
    """Read the request's JSON body as ``model``.

    400 where it is no JSON, 415 where it does not claim to be, 422 with the fields where it does
    not fit.  An absent body reads as an empty object.
    """
    data = request.get_data()
    if data and not request.is_json:
        message = "Send JSON with the content type application/json."
        raise UnsupportedMediaType(message)
    try:
        value = json.loads(data or b"{}")
    except ValueError as error:
        message = f"The body is not JSON: {error}"
        raise BadRequest(message) from None
    if not isinstance(value, dict):
        message = "The body must be a JSON object."
        raise BadRequest(message)
    return parse_json(model, data or b"{}")


def parse_json(model: type[Model], data: bytes | str) -> Model:
    """Validate JSON text against ``model``; :class:`Invalid` names each field."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> Invalid:
    """Turn pydantic's error into the domain's, without echoing what was sent."""
    errors: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"]) or "body"
        errors.setdefault(place, []).append(item["msg"])
    first = next(iter(errors.items()))
    return Invalid(f"{first[0]}: {first[1][0]}", errors)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model."""
    return model.model_json_schema()

"""The typed edge: bodies and queries become pydantic models, and errors name their fields."""

from datetime import UTC, datetime
from typing import Annotated, TypeVar

from flask import request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from webapp.errors import Invalid
from webapp.paging import MOST_SKIPPED, PAGE_SIZE
from webapp.reasons import MAX_REASON

#: So many of a list are answered at most.
MAX_LIMIT = 500
# As many as any number that is asked for here has.
_MOST_DIGITS = 10
_MOST_VERSIONS = 2**31 - 1

Model = TypeVar("Model", bound=BaseModel)


class Schema(BaseModel):
    """Base of every request schema: strict types, unknown fields refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


def _as_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        message = "is outside the years 1 to 9999 in UTC"
        raise ValueError(message) from None


def _without_nul(text: str) -> str:
    if "\0" in text:
        message = "a NUL character is no part of any text here"
        raise ValueError(message)
    return text


#: A time with its zone, as UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_as_utc)]
#: A text that every database can hold.
Text = Annotated[str, AfterValidator(_without_nul)]


#: Why something is changed.  The service refuses one that does not do, in its own words.
ReasonText = Annotated[Text, Field(json_schema_extra={"maxLength": MAX_REASON})]


class Reasoned(Schema):
    """The body of an action that needs no more than its reason."""

    reason: ReasonText = ""


class Removal(Reasoned):
    """The body of a DELETE; a client that sends none asks by the query."""

    version: int | None = None


def read_json(model: type[Model]) -> Model:
    """Read the request's JSON body as ``model``.

    400 where it is no JSON, 415 where it does not claim to be, 422 with the fields where it does
    not fit.  An absent body reads as an empty object.
    """
    data = request.get_data()
    # A form has been read by now, and has left nothing to be read again.
    if (data or request.form or request.files) and not request.is_json:
        message = "Send JSON with the content type application/json."
        raise UnsupportedMediaType(message)
    return parse_json(model, data or b"{}")


def parse_json(model: type[Model], data: bytes | str, *, what: str = "The body") -> Model:
    """Validate JSON text by ``model``: 400 where it is none, :class:`Invalid` names each field.

    ``what`` is how to speak of it where it is not JSON.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            message = f"{what} is not JSON: {first['msg']}."
            raise BadRequest(message) from None
        if first["type"] == "model_type" and not first["loc"]:
            message = f"{what} must be a JSON object."
            raise BadRequest(message) from None
        raise invalid(error) from None


def read_removal() -> Removal:
    """Read why and from which version something is removed, from the body, else the query."""
    body = read_json(Removal)
    given = body.model_dump(include=body.model_fields_set)
    if "reason" not in given:
        given["reason"] = request.args.get("reason", "")
    if given.get("version") is None and "version" in request.args:
        given["version"] = read_whole("version", 1, 1, _MOST_VERSIONS)
    return Removal(**given)


def read_whole(name: str, default: int, least: int, most: int) -> int:
    """Read a whole number from the query; :class:`Invalid` where it is none, or out of bounds."""
    raw = request.args.get(name, str(default))
    # The length first: reading thousands of digits is work, and beyond some it is an error.
    is_whole = len(raw) <= _MOST_DIGITS and raw.isascii() and raw.isdigit()
    if not is_whole or not least <= int(raw) <= most:
        raise Invalid.field(name, f"A whole number from {least} to {most}.")
    return int(raw)


def read_limit() -> int:
    """Read how many of a list are wanted."""
    return read_whole("limit", PAGE_SIZE, 1, MAX_LIMIT)


def read_window(most_skipped: int = MOST_SKIPPED) -> tuple[int, int]:
    """Read how many of a list are passed over, and how many are wanted."""
    return read_whole("skip", 0, 0, most_skipped), read_limit()


def read_choice(name: str) -> bool:
    """Read ``true`` or ``false`` from the query, false where it is absent."""
    raw = request.args.get(name, "false")
    if raw not in {"true", "false"}:
        raise Invalid.field(name, "Either true or false.")
    return raw == "true"


def invalid(error: ValidationError) -> Invalid:
    """Turn pydantic's error into the domain's, without echoing what was sent."""
    errors: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"]) or "body"
        errors.setdefault(place, []).append(item["msg"])
    first = next(iter(errors.items()))
    return Invalid(f"{first[0]}: {first[1][0]}", errors)

"""The form that enqueues a job: fields made from the schema of its type, and the options.

Works on plain mappings of text, so that it knows neither Flask nor the database.  What was typed is
kept as it was typed, whether or not it can be read.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from webapp.errors import FieldErrors, Invalid
from webapp.jobs.registry import JobType, parse_arguments
from webapp.jobs.wishes import JobOptions

Schema = Mapping[str, Any]

#: Before the names of arguments, so that none can be taken for an option.
PREFIX: Final = "arguments."
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,4000}\Z")
_SIMPLE: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}
_BOUNDS: Final = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "no shorter than {}"),
    ("maxLength", "no longer than {}"),
    ("pattern", "like {}"),
    ("format", "{}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentField:
    """One argument as a field of the form.

    ``kind`` is text, integer, number, boolean, choice or json; ``options`` are JSON texts with
    their labels.
    """

    name: str
    label: str
    kind: str
    required: bool
    nullable: bool
    help: str
    default: str
    options: Sequence[tuple[str, str]] = ()

    @property
    def key(self) -> str:
        """Return the name of the form's field."""
        return PREFIX + self.name

    def read(self, text: str) -> Any:
        """Return the value that was typed, ``MISSING`` where nothing was.

        What is no number stays a text, so that the type's own schema refuses it in its own words.
        """
        if not text.strip() and (self.kind != "text" or not self.required):
            return self._empty()
        if self.kind in {"boolean", "choice", "json"}:
            return _parsed(text)
        if self.kind == "integer":
            return int(text) if _WHOLE.match(text.strip()) else text
        return _number(text) if self.kind == "number" else text

    def _empty(self) -> Any:
        # A text that has a default was emptied on purpose.
        if self.kind == "text" and self.default:
            return None if self.nullable else ""
        return None if self.nullable and self.default else MISSING


class _Missing:
    """Stands where nothing was typed."""


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueForm:
    """A job to be enqueued as texts: the values of its arguments and its options."""

    type: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    priority: str = ""
    queue: str = ""
    delay: str = ""
    run_at: str = ""
    expires_at: str = ""
    unique_key: str = ""
    depends_on: str = ""
    callback_url: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "EnqueueForm":
        """Take what a browser sent, line ends made one kind."""
        texts = {name: text.replace("\r\n", "\n") for name, text in sent.items()}
        options: dict[str, Any] = {
            name: texts[name] for name in ("type", *_OPTIONS) if name in texts
        }
        return cls(
            values={name: text for name, text in texts.items() if name.startswith(PREFIX)},
            **options,
        )

    def value(self, argument: ArgumentField) -> str:
        """Return what was typed for an argument, before that its default."""
        return self.values.get(argument.key, argument.default)

    def errors_at(self, argument: ArgumentField) -> Sequence[str]:
        """Return what is wrong with an argument, and with anything inside of it."""
        found = list(self.errors.get(argument.key, ()))
        for place, messages in self.errors.items():
            if place.startswith(f"{argument.key}."):
                inside = place.removeprefix(f"{argument.key}.")
                found += [f"{inside}: {message}" for message in messages]
        return found

    def errors_elsewhere(self, fields: Sequence[ArgumentField]) -> Sequence[str]:
        """Return what is wrong with the arguments as a whole."""
        known = {item.key for item in fields}
        return [
            message
            for place, messages in self.errors.items()
            if place.startswith(PREFIX) and ".".join(place.split(".")[:2]) not in known
            for message in messages
        ]

    def typed(self, kind: JobType) -> tuple[dict[str, Any], JobOptions]:
        """Return arguments and options; :class:`Invalid` with all that cannot be."""
        values, errors = self._arguments(kind)
        options: dict[str, Any] = {}
        for name, read in _OPTIONS.items():
            text = getattr(self, name).strip()
            try:
                options |= {name: read(text)} if text else {}
            except ValueError as error:
                errors[name] = [str(error)]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return values, JobOptions(**options)  # type: ignore[typeddict-item]

    def _arguments(self, kind: JobType) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
        values: dict[str, Any] = {}
        errors: dict[str, Sequence[str]] = {}
        for item in fields_of(kind):
            try:
                value = item.read(self.values.get(item.key, ""))
            except ValueError as error:
                errors[item.key] = [str(error)]
            else:
                values |= {} if value is MISSING else {item.name: value}
        try:
            parse_arguments(kind, values)
        except Invalid as error:
            # What could not be read at all is missing here only for that reason.
            found = {PREFIX + place: messages for place, messages in error.errors.items()}
            errors = found | errors
        return values, errors


def fields_of(kind: JobType) -> list[ArgumentField]:
    """Return a field for each argument of a type, in the order of its schema."""
    schema = kind.arguments.model_json_schema()
    required = set(schema.get("required", ()))
    properties: Mapping[str, Schema] = schema.get("properties", {})
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    return [
        _field(name, part, definitions, required=name in required)
        for name, part in properties.items()
    ]


def _field(
    name: str, part: Schema, definitions: Mapping[str, Schema], *, required: bool
) -> ArgumentField:
    inner, nullable = _inner(part, definitions)
    kind, options = _kind(inner)
    title = str(part.get("title") or inner.get("title") or name)
    words = name.replace("_", " ")
    return ArgumentField(
        name=name,
        # Where nobody gave a title, it is the name with capitals.
        label=words.capitalize() if title == words.title() else title,
        kind=kind,
        required=required,
        nullable=nullable,
        help=_help(part, inner),
        default=_shown(part["default"], kind) if part.get("default") is not None else "",
        options=options,
    )


def _inner(part: Schema, definitions: Mapping[str, Schema]) -> tuple[Schema, bool]:
    """Return what a property is where it is not null, and whether it may be null."""
    choices = part.get("anyOf", ())
    rest = [choice for choice in choices if choice.get("type") != "null"]
    nullable = len(rest) < len(choices)
    inner = rest[0] if nullable and len(rest) == 1 else part
    if "$ref" in inner:
        inner = definitions.get(str(inner["$ref"]).rpartition("/")[2], {})
    return inner, nullable


def _kind(inner: Schema) -> tuple[str, Sequence[tuple[str, str]]]:
    choices = [inner["const"]] if "const" in inner else inner.get("enum")
    if choices:
        return "choice", [(json.dumps(choice), _label(choice)) for choice in choices]
    kind = _SIMPLE.get(str(inner.get("type")), "json")
    if kind == "boolean":
        return kind, [("true", "Yes"), ("false", "No")]
    return kind, ()


def _label(choice: Any) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice)


def _help(part: Schema, inner: Schema) -> str:
    told = [str(part.get("description") or inner.get("description") or "")]
    bounds = [words.format(inner[name]) for name, words in _BOUNDS if name in inner]
    return ". ".join(text for text in (*told, ", ".join(bounds).capitalize()) if text)


def _shown(value: Any, kind: str) -> str:
    if kind == "text":
        return str(value)
    return json.dumps(value, indent=2 if kind == "json" else None, ensure_ascii=False)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Is not JSON: {error}") from None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number that JSON knows")


def _number(text: str) -> float | int | str:
    if _WHOLE.match(text.strip()):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _priority(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise ValueError("A whole number from 0 to 100.")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise ValueError("Seconds, such as 90.")
    return float(text)


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("A time such as 2026-11-22 06:00, in UTC.") from None


def _ids(text: str) -> list[int]:
    words = text.replace(",", " ").split()
    if not all(re.fullmatch(r"[1-9][0-9]{0,17}", word) for word in words):
        raise ValueError("Numbers of jobs, such as 12, 13.")
    return [int(word) for word in words]


_OPTIONS: Final[Mapping[str, Any]] = {
    "priority": _priority,
    "queue": str,
    "delay": _seconds,
    "run_at": _moment,
    "expires_at": _moment,
    "unique_key": str,
    "depends_on": _ids,
    "callback_url": str,
}

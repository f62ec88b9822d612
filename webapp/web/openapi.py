"""The JSON API as an OpenAPI 3.1 document, made from the types that its views read and answer with.

A view says with :func:`describes` what it takes and gives; its address, role, summary and the
errors that it may answer with are known from the view itself.  Knows no capability.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, TypeVar

from flask import Flask
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from werkzeug.routing import IntegerConverter, Rule

from webapp.db import MOST_ID
from webapp.settings import Settings
from webapp.web.access import API_PREFIX, EVALUATION, PUBLIC
from webapp.web.requests import SAFE_METHODS
from webapp.web.schemas import MAX_LIMIT

View = TypeVar("View", bound=Callable[..., object])
Item = TypeVar("Item")
JsonSchema = dict[str, Any]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
RowId = Annotated[int, Field(ge=1, le=MOST_ID)]

VERSION: Final = "1"
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_SCHEMAS: Final = "#/components/schemas/"
_ALWAYS: Final = (400, 401, 403, 429, 500, 503)
_OF_BODY: Final = (413, 415, 422)
_WAIT: Final = frozenset({409, 429, 503})
# How pydantic names the schemas of generic types, and of two that share a name.
_GENERIC: Final = re.compile(r"(\w+?)_(\w+)_\Z")
_QUALIFIED: Final = re.compile(r"webapp__(\w+?)__\w+?__(\w+)\Z")


class Answer(BaseModel):
    """Base of every answer's type."""

    model_config = ConfigDict(defer_build=True)


class Query(BaseModel):
    """Base of what a query may hold: each field is a parameter, and none is required."""

    model_config = ConfigDict(defer_build=True)


class Problem(Answer):
    """What went wrong (RFC 9457); ``errors`` maps fields to what is wrong with each."""

    type: str
    title: str
    status: int
    detail: str
    errors: dict[str, list[str]] = {}  # absent where no field is to blame
    request_id: str | None


class Collection(Answer, Generic[Item]):
    """Some of a list, and how many there are."""

    items: list[Item]
    total: int


class CountedCollection(Collection[Item], Generic[Item]):
    """Some of a list, and how many there are; counted up to 10,000 where ``capped``."""

    capped: bool


class Page(CountedCollection[Item], Generic[Item]):
    """A page of a list, with the addresses of its neighbours."""

    next: str | None
    previous: str | None


class SearchPage(Page[Item], Generic[Item]):
    """A page of what was looked for among so many rows; ``next`` may look further."""

    searched: int | None


class WindowQuery(Query):
    """Which part of a list is wanted: so many, after so many others."""

    skip: Annotated[int, Field(ge=0)]
    limit: Limit


class PageQuery(Query):
    """Which page is wanted: so many, before or after one row.  ``next`` and ``previous`` say it."""

    limit: Limit
    before: RowId
    after: RowId


@dataclass(frozen=True, slots=True)
class Operation:
    """What a view takes and gives, by type; ``answers`` by status, None for no body at all.

    ``files`` are the content types in which the answer comes beside JSON.  ``example`` is a body
    that can be sent as it is.
    """

    answers: Mapping[int, Any]
    body: type[BaseModel] | None = None
    query: type[Query] | None = None
    files: tuple[str, ...] = ()
    example: Mapping[str, Any] | None = None


@dataclass(slots=True)
class _Described:
    """One operation of the document on its way into it."""

    path: str
    method: str
    view: Callable[..., object]
    rule: Rule
    operation: Operation
    refs: dict[str, JsonSchema] = field(default_factory=dict)


def describes(
    answers: Mapping[int, Any],
    *,
    body: type[BaseModel] | None = None,
    query: type[Query] | None = None,
    files: tuple[str, ...] = (),
    example: Mapping[str, Any] | None = None,
) -> Callable[[View], View]:
    """Say what a view takes and gives."""

    def mark(view: View) -> View:
        view.operation = Operation(answers, body, query, files, example)  # type: ignore[attr-defined]
        return view

    return mark


def openapi_document(app: Flask) -> JsonSchema:
    """Return the document of an application's whole API."""
    settings: Settings = app.extensions["settings"]
    described = list(_operations(app))
    schemas = _schemas(described)
    paths: dict[str, JsonSchema] = {}
    for item in described:
        paths.setdefault(item.path, {})[item.method] = _written(item, settings)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Switchyard",
            "version": VERSION,
            "description": "Feature flags, durable jobs, dead letters and schedules.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in sorted({_tag(item.view) for item in described})],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
            "headers": _HEADERS,
            "responses": {_name_of(status): _problem(status) for status in _statuses(described)},
        },
    }


def _operations(app: Flask) -> Iterator[_Described]:
    for rule in sorted(app.url_map.iter_rules(), key=str):
        if not rule.rule.startswith(API_PREFIX):
            continue
        view = app.view_functions[rule.endpoint]
        operation = getattr(view, "operation", None) or Operation({200: dict[str, Any]})
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield _Described(path, method.lower(), view, rule, operation)


def _schemas(described: list[_Described]) -> JsonSchema:
    """Return all schemas by name, and note with each operation what its types are called."""
    wanted: dict[tuple[int, str], Any] = {(-1, "problem"): Problem}
    for number, item in enumerate(described):
        wanted[number, "body"] = item.operation.body
        for status, kind in item.operation.answers.items():
            wanted[number, str(status)] = kind
    # Of what is read and of what is written alike: a type in both has one name.
    refs, document = TypeAdapter.json_schemas(
        [(key, "validation", TypeAdapter(kind)) for key, kind in wanted.items() if kind],
        ref_template=_SCHEMAS + "{model}",
    )
    found: JsonSchema = document.get("$defs", {})
    names = {name: _plain_name(name) for name in found}
    assert len(set(names.values())) == len(names), "two types of one name"  # noqa: S101
    for ((number, place), _), schema in refs.items():
        if number >= 0:
            described[number].refs[place] = _renamed(schema, names)
    return {names[name]: _renamed(schema, names) for name, schema in found.items()}


def _plain_name(name: str) -> str:
    """Turn ``Page_JobResponse_`` into ``JobPage``, and a qualified name into a short one."""
    if generic := _GENERIC.match(name):
        return _plain_name(generic[2]) + generic[1]
    if qualified := _QUALIFIED.match(name):
        owner = "".join(word.capitalize() for word in qualified[1].split("_"))
        return owner + _plain_name(qualified[2])
    return name.removesuffix("Response")


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        return {
            key: _SCHEMAS + names[value.removeprefix(_SCHEMAS)]
            if key == "$ref"
            else _renamed(value, names)
            for key, value in schema.items()
        }
    return [_renamed(item, names) for item in schema] if isinstance(schema, list) else schema


def _written(item: _Described, settings: Settings) -> JsonSchema:
    # Text for readers of Markdown.
    text = (item.view.__doc__ or "").strip().replace("``", "`")
    summary, _, more = text.partition("\n\n")
    access = getattr(item.view, "access", None)
    role = f"the role {'viewer' if access == EVALUATION else access}"
    needed = "no token" if access == PUBLIC else role
    written: JsonSchema = {
        "operationId": item.rule.endpoint.replace("_api.", "_").rstrip("_"),
        "tags": [_tag(item.view)],
        # A summary is plain text.
        "summary": " ".join(summary.replace("`", '"').split()),
        "description": f"{more.strip()}\n\nNeeds {needed}.".strip(),
        "parameters": [*_path_parameters(item.rule), *_query_parameters(item)],
        "responses": _responses(item),
    }
    if access == EVALUATION and settings.public_evaluation:
        written["security"] = [{}, {"token": []}]
    elif access == PUBLIC:
        written["security"] = []
    if getattr(item.view, "takes_key", False):
        written["parameters"].append(_key_parameter(item.view, settings))
    if item.operation.body is not None:
        fields = item.operation.body.model_fields.values()
        content: JsonSchema = {_JSON: {"schema": item.refs["body"]}}
        if item.operation.example is not None:
            content[_JSON]["example"] = item.operation.example
        written["requestBody"] = {
            "required": any(info.is_required() for info in fields),
            "content": content,
        }
    return written


def _path_parameters(rule: Rule) -> Iterator[JsonSchema]:
    for name, converter in rule._converters.items():  # noqa: SLF001 - no other way to ask
        schema: JsonSchema = {"type": "string", "minLength": 1}
        if isinstance(converter, IntegerConverter):
            schema = {"type": "integer", "minimum": 1, "maximum": MOST_ID}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(item: _Described) -> Iterator[JsonSchema]:
    if item.operation.query is None:
        return
    schema = item.operation.query.model_json_schema()
    for name, kind in schema["properties"].items():
        # A vocabulary stands in its place, not among the schemas.
        named = schema.get("$defs", {}).get(kind.get("$ref", "").rpartition("/")[2])
        yield {"name": name, "in": "query", "schema": _untitled(named or kind)}


def _untitled(schema: JsonSchema) -> JsonSchema:
    return {key: value for key, value in schema.items() if key not in {"title", "description"}}


def _key_parameter(view: Callable[..., object], settings: Settings) -> JsonSchema:
    return {
        "name": settings.idempotency_header,
        "in": "header",
        "required": settings.idempotency_required and getattr(view, "makes", False),
        "description": "What is sent again under its key is carried out once.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{3,255}$"},
    }


def _responses(item: _Described) -> JsonSchema:
    written: JsonSchema = {}
    for status, kind in item.operation.answers.items():
        answer: JsonSchema = {
            "description": HTTPStatus(status).phrase,
            "headers": {"X-Request-ID": _ref("headers", "X-Request-ID")},
        }
        if kind is not None:
            answer["content"] = {_JSON: {"schema": item.refs[str(status)]}}
            for name in item.operation.files:
                answer["content"][name] = {"schema": {"type": "string"}}
        written[str(status)] = answer
    for status in _problems_of(item):
        written.setdefault(str(status), _ref("responses", _name_of(status)))
    return dict(sorted(written.items()))


def _problems_of(item: _Described) -> set[int]:
    """Return the errors that a view may answer with, as far as its kind tells."""
    found = set(_ALWAYS)
    if item.rule.arguments:
        found.add(404)
    if any(isinstance(kind, IntegerConverter) for kind in item.rule._converters.values()):  # noqa: SLF001
        # What is no number may be the name of something else, which takes other requests.
        found.add(405)
    if item.operation.query is not None:
        found.add(422)
    if item.operation.body is not None:
        found.update(_OF_BODY)
    if item.method.upper() not in SAFE_METHODS:
        found.update({404, 409, 413, 422})
    return found


def _statuses(described: list[_Described]) -> list[int]:
    return sorted({status for item in described for status in _problems_of(item)})


def _problem(status: int) -> JsonSchema:
    names = ["X-Request-ID", *(["Retry-After"] if status in _WAIT else [])]
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {name: _ref("headers", name) for name in names},
        "content": {_PROBLEM: {"schema": {"$ref": _SCHEMAS + "Problem"}}},
    }


def _name_of(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def _ref(kind: str, name: str) -> JsonSchema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _tag(view: Callable[..., object]) -> str:
    """Return the capability that a view belongs to."""
    return view.__module__.split(".")[1].replace("_", " ")


_HEADERS: Final = {
    "X-Request-ID": {
        "description": "The id of the request, under which the log and the audit know it.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which the same may be sent again.",
        "schema": {"type": "integer", "minimum": 1},
    },
}

"""What may be said of a source: kind, location, key, how it is called, and the field mapping.

Decides what a valid source is, and names every field that breaks a rule.  It asks nobody whether
something is there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from webapp.errors import Invalid
from webapp.sources.locations import check_location, is_url
from webapp.sources.mapping import KEY_LENGTH, check_mapping
from webapp.sources.models import Source
from webapp.sources.values import (
    MAX_NAME,
    Options,
    Pagination,
    SourceDraft,
    SourceKind,
)

NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}\Z")
# Pages have these places in the URL.
RESERVED_NAMES = frozenset({"new", "preview"})
#: Begins the name of every environment variable that a source may send the value of.
AUTH_PREFIX = "SOURCE_"
MAX_PAGES = 1_000_000
MAX_PAGE_SIZE = 10_000
_AUTH_ENV = re.compile(rf"{AUTH_PREFIX}[A-Z0-9_]{{1,100}}\Z")
# A token of RFC 9110; those that frame a message are not somebody's to set.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_FRAMING = frozenset(
    {"connection", "content-length", "content-type", "host", "te", "transfer-encoding", "upgrade"}
)
_PARAMETER = re.compile(r"[A-Za-z0-9._~\[\]-]{1,100}\Z")
_PATH = re.compile(r"[^.\x00-\x1f\ud800-\udfff]+(\.[^.\x00-\x1f\ud800-\udfff]+)*\Z")
_MOST_PATH = 300
_OF_APIS = frozenset(item.name for item in fields(Options)) - {"auth_env", "auth_header"}


def check_name(name: str) -> str:
    """Return the name of a new source; :class:`Invalid` where it does not fit into an address."""
    if not NAME.match(name) or name in RESERVED_NAMES:
        raise Invalid.field(
            "name",
            f"Use 1 to {MAX_NAME} small letters, digits, dots, dashes and underscores, "
            f"but not just {' or '.join(sorted(RESERVED_NAMES))}.",
        )
    return name


def check_draft(draft: SourceDraft) -> SourceDraft:
    """Return a draft as it is stored; :class:`Invalid` with all that is wrong with it."""
    # What this kind has no use for may be anything: a form has fields for all kinds.
    draft = replace(draft, options=_of_use(draft))
    errors: dict[str, Sequence[str]] = {}
    checks: tuple[Callable[[], object], ...] = (
        lambda: _check_kind(draft.kind),
        lambda: check_location(draft.location, draft.kind),
        lambda: _check_key(draft.key_field),
        lambda: check_mapping(draft.mapping),
        *(lambda check=check: check(draft) for check in _OPTION_CHECKS),
    )
    for check in checks:
        try:
            check()
        except Invalid as error:
            errors |= error.errors
    if errors:
        name, messages = next(iter(errors.items()))
        raise Invalid(f"{name}: {messages[0]}", errors)
    return draft


def check_place(draft: SourceDraft) -> SourceDraft:
    """Return a draft that can be looked into, whose key need not be known yet."""
    return check_draft(
        SourceDraft(kind=draft.kind, location=draft.location, key_field="id", options=draft.options)
    )


def draft_of(source: Source) -> SourceDraft:
    """Return a stored source as the draft that would make it anew."""
    return SourceDraft(
        kind=source.kind,
        location=source.location,
        key_field=source.key_field,
        options=Options(**source.options),
        mapping=source.mapping,
    )


def stored(draft: SourceDraft) -> dict[str, Any]:
    """Return the columns of a draft."""
    return {
        "kind": str(draft.kind),
        "location": draft.location,
        "key_field": draft.key_field,
        "options": draft.options.to_json(),
        "mapping": dict(draft.mapping),
    }


def _of_use(draft: SourceDraft) -> Options:
    """Return the options without what a source of this kind has no use for."""
    given: Mapping[str, Any] = draft.options.to_json()
    if draft.kind == SourceKind.API:
        return draft.options
    if not is_url(draft.location):
        return Options()
    return Options(**{name: value for name, value in given.items() if name not in _OF_APIS})


def _check_kind(kind: str) -> None:
    if kind not in set(SourceKind):
        raise Invalid.field("kind", f"One of {', '.join(SourceKind)}.")


def _check_key(key_field: str) -> None:
    if not 0 < len(key_field) <= KEY_LENGTH:
        raise Invalid.field("key_field", "Name the column whose value tells the rows apart.")


def _check_auth(draft: SourceDraft) -> None:
    options = draft.options
    if options.auth_env and not _AUTH_ENV.match(options.auth_env):
        raise Invalid.field(
            "auth_env",
            f"The name of an environment variable that begins with {AUTH_PREFIX}, such as "
            f"{AUTH_PREFIX}ORDERS_TOKEN; its value stays with the workers.",
        )


def _check_header(draft: SourceDraft) -> None:
    header = draft.options.auth_header
    if not _HEADER.match(header) or header.lower() in _FRAMING:
        raise Invalid.field("auth_header", "The name of a header, such as Authorization.")


def _check_pagination(draft: SourceDraft) -> None:
    if draft.options.pagination not in set(Pagination):
        raise Invalid.field("pagination", f"One of {', '.join(Pagination)}.")


def _check_paths(draft: SourceDraft) -> None:
    options = draft.options
    for name in ("items", "cursor_path"):
        path = getattr(options, name)
        if path and (len(path) > _MOST_PATH or not _PATH.match(path)):
            raise Invalid.field(name, "Names with dots between them, such as data.items.")
    if options.pagination == Pagination.CURSOR and not options.cursor_path:
        raise Invalid.field("cursor_path", "Say where in the answer the next cursor stands.")


def _check_parameters(draft: SourceDraft) -> None:
    options = draft.options
    needed = {
        "page_param": options.pagination == Pagination.PAGE,
        "cursor_param": options.pagination == Pagination.CURSOR,
        "size_param": False,
    }
    for name, is_needed in needed.items():
        value = getattr(options, name)
        if (value or is_needed) and not _PARAMETER.match(value):
            raise Invalid.field(name, "The name of a query parameter, such as page.")


def _check_numbers(draft: SourceDraft) -> None:
    most = {
        "first_page": (0, 1_000_000),
        "page_size": (1, MAX_PAGE_SIZE),
        "max_pages": (1, MAX_PAGES),
    }
    errors = {
        name: [f"A whole number from {least} to {highest:,}."]
        for name, (least, highest) in most.items()
        if not least <= getattr(draft.options, name) <= highest
    }
    if errors:
        raise Invalid("A number is out of bounds.", errors)


_OPTION_CHECKS: tuple[Callable[[SourceDraft], None], ...] = (
    _check_auth,
    _check_header,
    _check_pagination,
    _check_paths,
    _check_parameters,
    _check_numbers,
)

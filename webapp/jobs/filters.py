"""What lists of jobs, and orders to many jobs, are narrowed to; and the statement that narrows."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, String, cast, or_, select

from webapp.db import DbSession
from webapp.errors import Invalid
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.moments import rfc3339
from webapp.paging import REACH, Scan, between

# A longer number is no job's id.
ID_DIGITS: Final = 18
# SQLite refuses patterns that are much longer.
MOST_SEARCHED: Final = 200
# A word of a search that looks into the arguments: size:100, or order.id:100 for one in another.
_PAIR: Final = re.compile(r"([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*):(\S+)\Z")
# Beside the columns of a full search in which an address would never be meant.
_NO_PAIRS: Final = frozenset({"http", "https", "ftp", "file"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilters:
    """What a list of jobs is narrowed to; an empty text or None means anything.

    Each ``..._from`` is included and ``..._to`` is not.  Words of ``text`` such as ``size:100`` are
    looked for in the arguments by their names, the rest anywhere in type, key, error and arguments.
    """

    state: str = ""
    type: str = ""
    queue: str = ""
    text: str = ""
    batch: int | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    finished_from: datetime | None = None
    finished_to: datetime | None = None

    @property
    def any(self) -> bool:
        """Tell whether something is narrowed at all."""
        return self != JobFilters()

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "JobFilters":
        """Read filters from texts, as ``given`` writes them; :class:`Invalid` names each field."""
        values: dict[str, Any] = {}
        errors: dict[str, list[str]] = {}
        for item in fields(cls):
            text = given.get(item.name, "").strip()
            try:
                values |= {item.name: _READERS.get(item.name, str)(text)} if text else {}
            except ValueError as error:
                errors[item.name] = [str(error)]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return cls(**values)

    def given(self) -> dict[str, str]:
        """Return what is narrowed, by name, as texts that a query or JSON can hold."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: _written(value) for name, value in values.items() if value not in ("", None)}


def _state(text: str) -> str:
    if text not in set(JobState):
        raise ValueError(f"One of {', '.join(JobState)}.")
    return text


def _moment(text: str) -> datetime:
    """Read a time; one without a zone, as a form sends it, is UTC."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("A time such as 2026-11-22T06:00Z.") from None


def _row_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS and int(text)):
        raise ValueError("The number of a batch.")
    return int(text)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "state": _state,
    "text": lambda text: text[:MOST_SEARCHED],
    "batch": _row_id,
    "created_from": _moment,
    "created_to": _moment,
    "finished_from": _moment,
    "finished_to": _moment,
}


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value)


# Whatever is narrowed to these alone is read from one index, newest first.
_CARRIED: Final[Sequence[AbstractSet[str]]] = (
    frozenset(),
    {"state"},
    {"type"},
    {"type", "state"},
    {"queue"},
    {"batch"},
)
_BY_TIME: Final = frozenset({"created_from", "created_to"})


def narrowed(filters: JobFilters) -> Select[tuple[Job]]:
    """Return a statement for the jobs that fit."""
    return select(Job).where(*_conditions(filters))


def scan_for(session: DbSession, filters: JobFilters) -> Scan:
    """Return where the jobs lie that fit; what no index carries is looked for in so many at a time.

    A job that finished before some time was created before it.
    """
    scan = between(
        session,
        Job.id,
        Job.created_at,
        since=filters.created_from,
        until=min(filter(None, (filters.created_to, filters.finished_to)), default=None),
    )
    kept = {name for name in filters.given() if name not in _BY_TIME}
    return scan if kept in _CARRIED else replace(scan, rows=REACH)


def _conditions(filters: JobFilters) -> Iterator[ColumnElement[bool]]:
    equal: Mapping[Any, Any] = {
        Job.state: filters.state,
        Job.type: filters.type,
        Job.queue: filters.queue,
        Job.batch_id: filters.batch,
    }
    yield from (column == value for column, value in equal.items() if value not in ("", None))
    if filters.created_from is not None:
        yield Job.created_at >= filters.created_from
    if filters.created_to is not None:
        yield Job.created_at < filters.created_to
    if filters.finished_from is not None:
        yield Job.finished_at >= filters.finished_from
    if filters.finished_to is not None:
        yield Job.finished_at < filters.finished_to
    yield from _containing(filters.text)


def _containing(text: str) -> Iterator[ColumnElement[bool]]:
    rest = []
    for word in text.split():
        pair = _PAIR.match(word)
        if pair and pair[1] not in _NO_PAIRS:
            yield _argument_is(pair[1].split("."), pair[2])
        else:
            rest.append(word)
    if rest:
        yield _anywhere(" ".join(rest) if len(rest) < len(text.split()) else text)


def _argument_is(path: list[str], value: str) -> ColumnElement[bool]:
    """Compare one argument as it is written in JSON, so that numbers of any size are exact."""
    place: ColumnElement[Any] = Job.__table__.c.arguments
    for name in path:
        place = place.op("->")(name)
    # Either a text, or a number, true, false or null as it stands.
    return cast(place, String).in_([json.dumps(value), value])


def _anywhere(text: str) -> ColumnElement[bool]:
    pattern = "%" + text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    fits: list[ColumnElement[bool]] = [
        column.ilike(pattern + "%", escape="\\")
        for column in (Job.type, Job.unique_key, Job.error, cast(Job.arguments, String))
    ]
    if text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS:
        fits.append(Job.id == int(text))
    return or_(*fits)

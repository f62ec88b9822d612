"""Turning rows into records, and comparing them with what stands.  Pure.

Decides a record's key and content hash, why a row is refused, and what is new, changed or the
same.  It must not know where rows come from or how records are kept.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic_core import PydanticSerializationError, to_json

from webapp.errors import Invalid
from webapp.sources.values import Rejection, Row

KEY_LENGTH = 255
MAX_MAPPED = 500
# No database holds a NUL or half of a surrogate pair in a text.
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")
# As JSON writes a NUL; a text may hold these characters too, so it is looked at closer then.
_WRITTEN_NUL = b"\\u0000"


@dataclass(frozen=True, slots=True)
class MappedRow:
    """What becomes a record."""

    key: str
    content_hash: str
    raw: Mapping[str, str]
    mapped: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A record that stands already."""

    id: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a batch means for the records that stand.

    The counts are those of writing its rows one by one, so they do not depend on where a batch
    is cut: of a key that stands twice in a batch the last row wins, and both are counted.
    """

    inserted: int
    updated: int
    unchanged: int
    write: Sequence[MappedRow]
    touch: Sequence[int]


def check_columns(columns: Sequence[str], key_field: str) -> None:
    """Refuse a source without its key column: it would be rejected row by row."""
    if key_field not in columns:
        raise Invalid(f"There is no column {key_field!r} for the key; there are {list(columns)}.")


def map_row(
    row: Row, key_field: str, mapping: Mapping[str, str] | None = None
) -> MappedRow | Rejection:
    """Return the record that a row means, or why it means none.

    ``mapping`` goes from new names to old ones; a field that the row does not have is left out.
    The key is looked for under its old name.
    """
    key = row.fields.get(key_field, "").strip()
    mapped = None
    if mapping:
        mapped = {new: row.fields[old] for new, old in mapping.items() if old in row.fields}
    # What a change of the mapping alone makes of a row is new content too.
    content = _canonical(row.fields, mapped)
    problem = _problem(row, key, key_field, content)
    if problem or content is None:
        return Rejection.of(row.line, problem or "cannot be written as JSON", row.text)
    return MappedRow(key, _digest(content), row.fields, mapped)


def _problem(row: Row, key: str, key_field: str, content: bytes | None) -> str | None:
    if not key:
        return f"has no key: {key_field} is empty"
    if len(key) > KEY_LENGTH:
        return f"has a key of {len(key)} characters, {KEY_LENGTH} are the limit"
    if content is not None and _WRITTEN_NUL not in content:
        return None
    unfit = _UNFIT.search("".join((*row.fields, *row.fields.values())))
    if unfit:
        return "holds a NUL character" if unfit[0] == "\0" else "holds half of a character"
    return None


def content_hash(fields: Mapping[str, str], mapped: Mapping[str, str] | None = None) -> str:
    """Return 128 bits of BLAKE2b over the fields as canonical JSON; their order does not count."""
    content = _canonical(fields, mapped)
    if content is None:
        raise ValueError("Half of a surrogate pair cannot be written as JSON.")
    return _digest(content)


def _canonical(fields: Mapping[str, str], mapped: Mapping[str, str] | None) -> bytes | None:
    """Return the fields as JSON in the order of their names, None where no JSON can hold them."""
    content: object = _sorted(fields)
    if mapped is not None:
        content = [content, _sorted(mapped)]
    try:
        return to_json(content)
    except PydanticSerializationError:
        return None


def _sorted(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: fields[name] for name in _order(tuple(fields))}


@lru_cache(256)
def _order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Sort the names of fields once: the rows of a file all have the same."""
    return tuple(sorted(names))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def check_mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return a mapping as it is stored; :class:`Invalid` names the field ``mapping``."""
    if len(mapping) > MAX_MAPPED:
        raise Invalid.field("mapping", f"Use at most {MAX_MAPPED} fields.")
    for new, old in mapping.items():
        if not all(0 < len(name) <= KEY_LENGTH and not _UNFIT.search(name) for name in (new, old)):
            raise Invalid.field("mapping", f"A name has 1 to {KEY_LENGTH} characters.")
    return dict(mapping)


def compare(rows: Iterable[MappedRow], standing: Mapping[str, Standing]) -> Comparison:
    """Compare rows with the records that stand, by key; ``touch`` names records by id."""
    hashes = {key: record.content_hash for key, record in standing.items()}
    write: dict[str, MappedRow] = {}
    touch: dict[str, int] = {}
    inserted = updated = unchanged = 0
    for row in rows:
        before = hashes.get(row.key)
        if before == row.content_hash:
            unchanged += 1
            if row.key not in write:
                touch[row.key] = standing[row.key].id
            continue
        if before is None:
            inserted += 1
        else:
            updated += 1
        hashes[row.key] = row.content_hash
        write[row.key] = row
        touch.pop(row.key, None)
    return Comparison(inserted, updated, unchanged, list(write.values()), list(touch.values()))

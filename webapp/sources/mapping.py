"""Turning rows into records, and comparing them with what stands.  Pure.

Decides a record's key and content hash, why a row is refused, and what is new, changed or the
same.  It must not know where rows come from or how records are kept.
"""

import hashlib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from webapp.errors import Invalid
from webapp.sources.values import Rejection, Row

KEY_LENGTH = 255
MAX_MAPPED = 500
# No database holds a NUL or half of a surrogate pair in a text.
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")
_NUL = rb"\u0000"


# Not frozen: one is made for each row, and that takes three times as long.
@dataclass(slots=True)
class MappedRow:
    """What becomes a record."""

    key: str
    content_hash: str
    raw: Mapping[str, str]
    mapped: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a batch means for the records that stand.

    The counts are those of writing its rows one by one, so they do not depend on where a batch
    is cut: of a key that stands twice in a batch the last row wins, and both are counted.
    ``touch`` are the keys of records that are the same.
    """

    inserted: int
    updated: int
    unchanged: int
    write: Sequence[MappedRow]
    touch: Sequence[str]


class KeyFieldMissing(Invalid):
    """The source has no column for the key any more."""


def check_columns(
    columns: Sequence[str], key_field: str, renames: Mapping[str, str] | None = None
) -> None:
    """Refuse a source without its key column: it would be rejected row by row."""
    if name_in(columns, key_field, renames or {}) not in columns:
        raise KeyFieldMissing(
            f"There is no column {key_field!r} for the key; there are {list(columns)}."
        )


def name_in(fields: Container[str], name: str, renames: Mapping[str, str]) -> str:
    """Return the name that a field has here: its own, or the one that it goes by now."""
    return name if name in fields else renames.get(name, name)


def map_row(
    row: Row,
    key_field: str,
    mapping: Mapping[str, str] | None = None,
    renames: Mapping[str, str] | None = None,
) -> MappedRow | Rejection:
    """Return the record that a row means, or why it means none.

    ``mapping`` goes from new names to old ones; a field that the row does not have is left out.
    The key is looked for under its old name.  ``renames`` go from the names that fields had at
    first to those that they have now: what is looked for is found under either, and the record has
    the first.
    """
    fields = row.fields
    if renames:
        key_field = name_in(fields, key_field, renames)
    key = fields.get(key_field, "").strip()
    mapped = _mapped(fields, mapping or {}, renames or {}) if mapping or renames else None
    content = None if not key or len(key) > KEY_LENGTH else _content(fields, mapped)
    if content is None:
        return Rejection.of(row.line, _problem(row, key, key_field), row.text)
    return MappedRow(key, _digest(content), fields, mapped)


def _mapped(
    fields: Mapping[str, str], mapping: Mapping[str, str], renames: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the fields under the names that the record has, None where those are their own."""
    if mapping:
        found = ((new, name_in(fields, old, renames)) for new, old in mapping.items())
        return {new: fields[name] for new, name in found if name in fields}
    first = {now: name for name, now in renames.items() if now in fields and name not in fields}
    return {first.get(name, name): value for name, value in fields.items()} if first else None


def _problem(row: Row, key: str, key_field: str) -> str:
    """Return why a row is none."""
    if not key:
        return f"has no key: {key_field} is empty"
    if len(key) > KEY_LENGTH:
        return f"has a key of {len(key)} characters, {KEY_LENGTH} are the limit"
    nul = any("\0" in text for text in (*row.fields, *row.fields.values()))
    return "holds a NUL character" if nul else "holds half of a character"


def _content(fields: Mapping[str, str], mapped: Mapping[str, str] | None) -> bytes | None:
    """Return the fields as canonical JSON, None where they hold what no database does.

    JSON has no half of a character, and writes NUL in one way.
    """
    # What a change of the mapping alone makes of a row is new content too.
    content = fields if mapped is None else [fields, mapped]
    try:
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
    if _NUL in text and any(_UNFIT.search(name + value) for name, value in fields.items()):
        return None
    return text


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def content_hash(fields: Mapping[str, str], mapped: Mapping[str, str] | None = None) -> str:
    """Return 128 bits of BLAKE2b over the fields as canonical JSON; their order does not count."""
    content = fields if mapped is None else [fields, mapped]
    return _digest(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))


def check_mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return a mapping as it is stored; :class:`Invalid` names the field ``mapping``."""
    if len(mapping) > MAX_MAPPED:
        raise Invalid.field("mapping", f"Use at most {MAX_MAPPED} fields.")
    for new, old in mapping.items():
        if not all(0 < len(name) <= KEY_LENGTH and not _UNFIT.search(name) for name in (new, old)):
            raise Invalid.field("mapping", f"A name has 1 to {KEY_LENGTH} characters.")
    return dict(mapping)


def compare(rows: Iterable[MappedRow], standing: Mapping[str, str]) -> Comparison:
    """Compare rows with the content hashes of the records that stand, by key."""
    hashes = dict(standing)
    write: dict[str, MappedRow] = {}
    # In the order in which they were seen.
    touch: dict[str, None] = {}
    inserted = updated = unchanged = 0
    for row in rows:
        before = hashes.get(row.key)
        if before == row.content_hash:
            unchanged += 1
            if row.key not in write:
                touch[row.key] = None
            continue
        if before is None:
            inserted += 1
        else:
            updated += 1
        hashes[row.key] = row.content_hash
        write[row.key] = row
        touch.pop(row.key, None)
    return Comparison(inserted, updated, unchanged, list(write.values()), list(touch))

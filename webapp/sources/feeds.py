"""Feeds as rows: the entries of an RSS or Atom document.  Pure.

feedparser reads them, also where they are not well-formed, as many feeds are.  What it would be
dangerous to read is refused before: a document that defines entities of its own, or one that is
nested too deeply.  It is never given an address, and loads nothing.
"""

import codecs
import hashlib
import io
import re
import xml.parsers.expat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import feedparser

from webapp.errors import Invalid
from webapp.sources.values import Rejection, Row, Unreadable

#: The fields of every entry; those that it does not have are empty.
COLUMNS = (
    "id",
    "title",
    "link",
    "author",
    "published",
    "updated",
    "summary",
    "content",
    "categories",
)
MAX_ENTRIES = 10_000
MAX_DEPTH = 100
# Guessing what a broken document means takes much longer than reading a good one.
BROKEN_BYTES = 512 * 1024
FIELD_CHARACTERS = 1024 * 1024
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)
_ENTRY = re.compile(rb"<(?:\w+:)?(?:item|entry)[\s>/]", re.IGNORECASE)
_FEED = re.compile(rb"<(\w+:)?(rss|feed|rdf)\b", re.IGNORECASE)
# The longest first: a mark of UTF-32 begins with one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_DECLARED = re.compile(rb"""<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9_.:-]{1,40})""")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_XML = {"content-type": "application/xml; charset=utf-8"}


def read_feed(data: bytes, content_type: str = "") -> list[Row | Rejection]:
    """Read a feed's entries, each once, in its order.

    :class:`Unreadable` where it is no feed, :class:`Invalid` where it is one that nobody should
    read.
    """
    text = _decoded(data, content_type)
    _refuse_dangers(text)
    found = feedparser.parse(
        io.BytesIO(text), response_headers=_XML, sanitize_html=False, resolve_relative_uris=False
    )
    if not found.version and not found.entries:
        raise Unreadable("The answer is neither RSS nor Atom.")
    return list(_rows(found.entries))


def entry_digest(row: Row | Rejection) -> str:
    """Return what an entry is known by within a run: its id and its content."""
    text = row.text if isinstance(row, Rejection) else f"{row.fields['id']}\0{row.text}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _decoded(data: bytes, content_type: str) -> bytes:
    """Return the document in UTF-8, so that what is looked for cannot hide in another encoding.

    What its first bytes say goes before what the server says, and that before what the document
    says of itself (RFC 7303, 3.2).
    """
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    told = _CHARSET.search(content_type)
    declared = _DECLARED.match(data)
    names = (marked, told[1] if told else "", declared[1].decode() if declared else "", "utf-8")
    for name in filter(None, names):
        try:
            text = data.decode(name).lstrip("\ufeff")
        except (LookupError, UnicodeError):
            continue
        if "\0" not in text:
            return b'<?xml version="1.0" encoding="utf-8"?>' + _DECLARATION.sub("", text).encode()
    raise Unreadable("The answer is in no encoding that can be read.")


def _refuse_dangers(text: bytes) -> None:
    """Refuse entities, which may grow without bound or name files, and what has no end."""
    if _ENTITY.search(text):
        raise Invalid("The feed defines entities of its own, which no feed needs: it is not read.")
    if sum(1 for _ in _ENTRY.finditer(text)) > MAX_ENTRIES:
        raise Invalid(f"The feed has more than {MAX_ENTRIES:,} entries.")
    depth = 0

    def begin(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Invalid("The feed is nested too deeply.")

    def end(_: object) -> None:
        nonlocal depth
        depth -= 1

    # What defines no entities loads none; without handlers for them expat skips what is external.
    parser = xml.parsers.expat.ParserCreate("utf-8")
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    try:
        parser.Parse(text, True)
    except xml.parsers.expat.ExpatError as error:
        if not _FEED.search(text):
            raise Unreadable(f"The answer is neither RSS nor Atom: {error}.") from None
        if len(text) > BROKEN_BYTES:
            raise Unreadable(f"The feed is not well-formed: {error}.") from None


def _rows(entries: list[Any]) -> Iterator[Row | Rejection]:
    for number, entry in enumerate(entries, start=1):
        fields = {
            "id": _text(entry.get("id")) or _text(entry.get("link")),
            "title": _text(entry.get("title")),
            "link": _text(entry.get("link")),
            "author": _text(entry.get("author")),
            "published": _time(entry, "published"),
            "updated": _time(entry, "updated"),
            "summary": _text(entry.get("summary")),
            "content": "\n".join(_text(part.get("value")) for part in entry.get("content", ())),
            "categories": ", ".join(_text(tag.get("term")) for tag in entry.get("tags", ())),
        }
        text = "\n".join(value for value in fields.values() if value)
        if any(len(value) > FIELD_CHARACTERS for value in fields.values()):
            error = f"has a field of more than {FIELD_CHARACTERS} characters"
            yield Rejection.of(number, error, text)
        else:
            yield Row(number, fields, text)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _time(entry: Any, name: str) -> str:
    """Return a time in ISO 8601 and UTC, or as the feed writes it where nobody can read that."""
    # Asked for in this way it is not made up from another field that the entry does have.
    parsed = dict.get(entry, f"{name}_parsed")
    if parsed is None:
        return _text(dict.get(entry, name))
    try:
        year, month, day, hour, minute, second = parsed[:6]
        found = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return found.isoformat().replace("+00:00", "Z")
    except ValueError:
        return _text(dict.get(entry, name))

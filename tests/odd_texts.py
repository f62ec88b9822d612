"""What a form field may be sent that nobody types: each must get an answer, not an error."""

from collections.abc import Mapping
from urllib.parse import urlencode

Fields = dict[str, str | bytes]

# As bytes, since some of them are no text.
ODD_TEXTS: Mapping[str, bytes] = {
    "empty": b"",
    "beyond 64 bits": b"9" * 30,
    "beyond what an integer is read from": b"9" * 5000,
    "negative": b"-1",
    "infinite": b"1e999",
    "no number": b"nan",
    "a digit of another script": "\u0663".encode(),
    "NUL": b"a\0b",
    "half a surrogate pair": b"\xed\xa0\x80",
    "not UTF-8": b"\xff",
    "wildcards": b"%_\\/",
    "lines": b"a\r\nb",
    "a great many characters": b"x" * 100_000,
    "before the first year": b"0001-01-01T00:00+14:00",
    "after the last year": b"9999-12-31T23:59-14:00",
    "a deep object": b'{"a":' * 300 + b"1" + b"}" * 300,
    "an object too deep to read": b'{"a":' * 5_000,
    "an object with a great number": b'{"a": 99999999999999999999}',
    "half an address": b"//[",
}

# What a server may refuse that SQLite takes; the others are tried on SQLite alone.
FOR_SERVERS = frozenset(
    {
        "beyond 64 bits",
        "infinite",
        "NUL",
        "half a surrogate pair",
        "a great many characters",
        "before the first year",
        "after the last year",
        "an object with a great number",
    }
)


def form_body(fields: Fields) -> dict[str, str]:
    """Return a form as the arguments of a client's ``post``, odd bytes as they are."""
    return {"data": urlencode(fields), "content_type": "application/x-www-form-urlencoded"}

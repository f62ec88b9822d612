"""What a form field may be sent that nobody types: each must get an answer, not an error."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from urllib.parse import urlencode

from werkzeug.test import TestResponse

Fields = dict[str, str | bytes]
Ask = Callable[[str, Fields], TestResponse]

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


def ask_with_each(
    ask: Ask, urls: Sequence[str], good: Fields, names: Iterable[str], odd: bytes
) -> None:
    """Ask the first address with each field odd alone, and those that read the same with many.

    What the first takes, the others are sent at once, and alone where they refuse it: a field that
    is refused hides what would come of the next.  What the first refuses they are sent at once too.
    """
    first, *others = urls
    forms = {name: good | {name: odd} for name in names}
    taken = [name for name, form in forms.items() if is_taken(ask, first, form)]
    refused = [name for name in forms if name not in taken]
    for url in others:
        if taken:
            ask_with_all(ask, url, good, taken, odd)
        if refused:
            ask_with_all(ask, url, good, refused, odd, over={400, 404, 409, 422})


def ask_with_all(
    ask: Ask,
    url: str,
    good: Fields,
    names: Sequence[str],
    odd: bytes,
    *,
    over: Container[int] = (),
) -> None:
    """Ask with all of these fields odd at once; where that is refused, with each alone.

    So whoever fails is named.  A status of ``over`` is an answer, and nothing more is asked.
    """
    status = ask(url, good | dict.fromkeys(names, odd)).status_code
    if status >= 400 and status not in over:
        for name in names:
            is_taken(ask, url, good | {name: odd})
    assert status < 500, (status, url, names)


def is_taken(ask: Ask, url: str, fields: Fields) -> bool:
    """Ask, and tell whether it was taken or refused; the server must not have failed."""
    status = ask(url, fields).status_code
    assert status < 500, (status, url, {name: value[:80] for name, value in fields.items()})
    return status < 400

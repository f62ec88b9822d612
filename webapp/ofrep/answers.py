"""The answers of OFREP: one flag, or all of them with an ETag.

Flask's views, the short cut in front of them and the edge all call these.  Nothing here knows of a
request; who asks has been settled.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from webapp.errors import Unavailable
from webapp.flags.snapshot import NOT_READ, FlagStore
from webapp.ofrep.documents import failure, flag_document
from webapp.ofrep.questions import Unreadable, read_question
from webapp.ofrep.values import ErrorCode
from webapp.web.before_flask import Answered

BAD_REQUEST: Final = "400 Bad Request"
_STATUS: Final[Mapping[str, str]] = {
    ErrorCode.FLAG_NOT_FOUND: "404 Not Found",
    ErrorCode.TARGETING_KEY_MISSING: BAD_REQUEST,
}


def answer_one(store: FlagStore, key: str, body: bytes, *, bound: str | None) -> Answered:
    """Decide one flag in the environment of the asker's token, or in the deployment's own.

    Raises :class:`webapp.errors.Unavailable`.
    """
    try:
        asked = read_question(body)
    except Unreadable as error:
        return refused(key, error)
    flags = _flags(store)
    decision = store.evaluate(key, asked.subject, environment=bound, attributes=asked.attributes)
    document = flag_document(key, flags.get(key), decision)
    return Answered(orjson.dumps(document), _STATUS.get(document.get("errorCode", ""), "200 OK"))


def answer_all(
    store: FlagStore, body: bytes, *, bound: str | None, known: Callable[[str], bool]
) -> Answered:
    """Decide every flag for one subject; 304 where the asker has that answer already.

    ``known`` tells whether an entity tag is one that the asker holds.  Raises as
    :func:`answer_one`.
    """
    try:
        asked = read_question(body)
    except Unreadable as error:
        return refused(None, error)
    flags = _flags(store)
    decisions = store.evaluate_many(
        None, asked.subject, environment=bound, attributes=asked.attributes
    )
    told = [flag_document(name, flags.get(name), found) for name, found in decisions.items()]
    written = orjson.dumps({"flags": told})
    # Of the answer, not of the flags: providers send the tag of one context with another.
    tag = sha256(written).hexdigest()[:32]
    headers = (("ETag", f'"{tag}"'),)
    if known(tag):
        return Answered(b"", "304 Not Modified", headers)
    return Answered(written, headers=headers)


def refused(key: str | None, error: Unreadable) -> Answered:
    """Answer a body that cannot be read."""
    return Answered(orjson.dumps(failure(key, error.code, error.details)), BAD_REQUEST)


def _flags(store: FlagStore) -> Mapping[str, Any]:
    if not store.loaded:
        raise Unavailable(NOT_READ)
    return store.current().found.flags

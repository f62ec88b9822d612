"""What a key may be, what makes two requests the same, and what became of a claim.  Pure."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: A claim that is older belongs to a process that died, or might as well have.
CLAIM_LASTS: Final = timedelta(seconds=60)
MAX_KEY: Final = 255
#: So much of a method and its path is shown.
MAX_REQUEST: Final = 200

# Bare, or quoted as a string of RFC 8941, which the draft of the header asks for.
_KEY: Final = re.compile(r'("?)([A-Za-z0-9_.:-]{3,255})\1')


@dataclass(frozen=True, slots=True)
class Slot:
    """A key of one principal, and the request that it came with: in words, and its fingerprint."""

    principal: str
    key: str
    request: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry a request out; ``token`` is worth nothing once another has claimed it."""

    key_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was given; ``body`` is None where it was not to be kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The request was carried out at ``at``: this is what it was answered."""

    answer: Answer
    at: datetime


@dataclass(frozen=True, slots=True)
class Running:
    """The first request is still being carried out."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key came with another request before."""


def read_key(text: str) -> str | None:
    """Return the key that a header holds, bare or in quotes, or None where it is none."""
    found = _KEY.fullmatch(text.strip())
    return found[2] if found else None


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    """Return what two requests have in common only if they ask for the same."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode("utf-8", "surrogatepass"), query, body):
        # With its length, so that no end of one part is taken for the beginning of the next.
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()

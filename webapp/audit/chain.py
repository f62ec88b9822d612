"""How audit entries hang together: each hash covers an entry's facts and the hash before it.

Pure.  The written form of the facts is fixed for good, since the hashes of years are made of it:
a new column of the audit is not among them, or stands in a chain of its own.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

# What the first entry of all follows on.
GENESIS: Final = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an entry says, and so what its hash vouches for."""

    at: datetime
    actor_kind: str
    actor: str
    action: str
    subject: str
    name: str
    reason: str
    changes: dict[str, list[Any]]
    request_id: str | None


class Fault(StrEnum):
    """What can be wrong with an entry's place in the chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    ORDER = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A stored entry; ``facts`` is None where they can no longer be read."""

    id: int
    facts: Facts | None
    previous_hash: str
    hash: str


def canonical(facts: Facts) -> str:
    """Write the facts in the one form that is hashed: JSON with sorted keys, all ASCII, no spaces.

    The time is in UTC with its six digits of microseconds, as both databases keep it.
    """
    written = {
        "action": facts.action,
        "actor": facts.actor,
        "actor_kind": facts.actor_kind,
        "at": facts.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "changes": facts.changes,
        "name": facts.name,
        "reason": facts.reason,
        "request_id": facts.request_id,
        "subject": facts.subject,
    }
    # Whoever meddles with SQLite can put bytes where text belongs: that is a wrong hash, no crash.
    return json.dumps(written, sort_keys=True, separators=(",", ":"), default=repr)


def hash_after(previous_hash: str, facts: Facts) -> str:
    """Return the hash of an entry with these facts that follows on the one with that hash."""
    return sha256(f"{previous_hash}\n{canonical(facts)}".encode()).hexdigest()


def fault_of(link: Link, before: str) -> Fault | None:
    """Judge one entry by the hash of the one that stands before it.

    :attr:`Fault.REMOVED` means that it follows on another: if that one is still there, what is
    wrong is the :attr:`Fault.ORDER`, which only a look at all entries can tell.
    """
    if link.facts is None or hash_after(link.previous_hash, link.facts) != link.hash:
        return Fault.CHANGED
    return None if link.previous_hash == before else Fault.REMOVED

"""Forms that were overtaken: what others saved since, and the fields that are to be settled.

Reads the audit; which values differ is for the caller to know, and what is typed for the form.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from webapp.audit.service import history
from webapp.audit.values import Change, Entry, FieldChange
from webapp.db import DbSession
from webapp.errors import Invalid
from webapp.flags.conflicts import (
    UNKNOWN,
    Clash,
    Side,
    before_changes,
    clashes_between,
    unsettled,
)
from webapp.flags.rows import Sent
from webapp.flags.wording import field_in_words, told_changes

# More changes than anybody misses while a form is open; beyond them nothing is known.
MOST_MISSED: Final = 20
_KEEP: Final = "keep-"


class Overtaken(NamedTuple):
    """What a form was made from, and the version that stands now."""

    subject: str
    name: str
    version: int
    began: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClashLine:
    """One field that differs, in words: as it was, as it stands, as it was typed."""

    field: str
    before: Sequence[str] | None
    theirs: Sequence[str]
    mine: Sequence[str]
    choice: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """What a page shows of it: who changed what since the version ``began``, fields to settle."""

    began: int
    entries: Sequence[Entry]
    lines: Sequence[ClashLine]


def version_in(text: str) -> int | None:
    """Read the version that a form was made from."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def began_with(sent: Sent) -> int | None:
    """Return the version that somebody began with, before whatever was shown to them since."""
    began = version_in(sent.get("began", ""))
    return version_in(sent.get("version", "")) if began is None else began


def missed(session: DbSession, thing: Overtaken) -> list[Entry]:
    """Return what was changed since the form was made, newest first, as far as it is told."""
    if thing.began is None:
        return []
    # Each change is one version and one entry.
    count = max(0, min(thing.version - thing.began, MOST_MISSED))
    return history(session, thing.subject, thing.name, count) if count else []


def clashes_since(
    session: DbSession, thing: Overtaken, different: Mapping[str, Change], sent: Sent
) -> list[Clash]:
    """Return the fields that differ from what stands, with what was chosen for each."""
    known = thing.began is not None and thing.version - thing.began <= MOST_MISSED
    before = before_changes(missed(session, thing)) if known else None
    return clashes_between(different, before=before, chosen=_choices_in(sent))


def settled(clashes: Iterable[Clash]) -> set[str]:
    """Return the fields in which theirs is to stand; :class:`Invalid` while one is not chosen."""
    clashes = list(clashes)
    if missing := unsettled(clashes):
        raise Invalid.field("over", f"Choose whose is to stand: {', '.join(missing)}.")
    return {clash.field for clash in clashes if clash.choice is Side.THEIRS}


def dispute_of(session: DbSession, thing: Overtaken, clashes: Sequence[Clash]) -> Dispute:
    """Tell a dispute in words; what is to be settled is not told again with who changed it."""
    fields = {clash.field for clash in clashes}
    entries = [
        replace(entry, changes=_others(entry.changes, fields)) for entry in missed(session, thing)
    ]
    lines = [_line(clash) for clash in clashes]
    return Dispute(began=thing.began or 0, entries=entries, lines=lines)


def _choices_in(sent: Sent) -> dict[str, str]:
    """Return whose value was chosen for each field."""
    return {name.removeprefix(_KEEP): side for name, side in sent.items() if name.startswith(_KEEP)}


def _others(changes: Iterable[FieldChange], fields: set[str]) -> tuple[FieldChange, ...]:
    return tuple(told_changes(change for change in changes if change.field not in fields))


def _line(clash: Clash) -> ClashLine:
    known = clash.before is not UNKNOWN
    before = clash.before if known else None
    return ClashLine(
        field=clash.field,
        before=field_in_words(clash.field, before) if known else None,
        theirs=field_in_words(clash.field, clash.theirs, before),
        mine=field_in_words(clash.field, clash.mine, before),
        choice=clash.choice,
    )

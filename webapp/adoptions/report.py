"""What an import makes of everything in a document, in lines to look at: the worst first.

Thousands of lines are shown by the page, all of one outcome or of any.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from webapp.adoptions.service import Taken
from webapp.audit.values import Change, FieldChange
from webapp.errors import FieldErrors
from webapp.flags.values import NOTHING
from webapp.flags.wording import told_changes

PAGE_SIZE: Final = 100
_MOST_DIGITS: Final = 4


class Fate(StrEnum):
    """What becomes of something in a document, the worst first."""

    REFUSED = "refused"
    LEFT_OUT = "left_out"
    UPDATED = "updated"
    CREATED = "created"
    UNCHANGED = "unchanged"


_ORDER: Final = {fate: place for place, fate in enumerate(Fate)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing: what changes, what is wrong, and what does not come along."""

    kind: str
    name: str
    fate: Fate
    changes: Sequence[FieldChange] = ()
    complaints: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def stands(self) -> bool:
        """Tell whether it is there already."""
        return self.fate in {Fate.UPDATED, Fate.UNCHANGED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One page of lines; counts are of all, ``mark`` stands for exactly this outcome of all."""

    counts: Mapping[Fate, int]
    lines: Sequence[Line]
    only: str
    total: int
    page: int
    pages: int
    mark: str

    @property
    def refused(self) -> int:
        """Return how many are refused: where there is one, nothing is imported."""
        return self.counts[Fate.REFUSED]

    @property
    def written(self) -> int:
        """Return how many things an import makes or changes."""
        return self.counts[Fate.CREATED] + self.counts[Fate.UPDATED]


def report_of(taken: Taken, show: str = "", size: int = PAGE_SIZE) -> Report:
    """Return the page that ``show`` asks for: an outcome or none, and behind a colon which page."""
    found = sorted(_all(taken), key=lambda item: (_ORDER[item.fate], item.kind, item.name))
    counted = Counter(item.fate for item in found)
    only, _, number = show.partition(":")
    only = only if only in set(Fate) else ""
    chosen = [item for item in found if item.fate == (only or item.fate)]
    pages = max(1, -(-len(chosen) // size))
    page = min(_whole(number), pages)
    return Report(
        counts={fate: counted[fate] for fate in Fate},
        lines=[_line(item) for item in chosen[(page - 1) * size : page * size]],
        only=only,
        total=len(chosen),
        page=page,
        pages=pages,
        mark=_mark(found),
    )


class _Found(NamedTuple):
    """One thing as it was found, before anything is told of it."""

    kind: str
    name: str
    fate: Fate
    changes: Mapping[str, Change] = NOTHING
    errors: FieldErrors = NOTHING
    notes: Sequence[str] = ()


def _all(taken: Taken) -> Iterator[_Found]:
    for kind, results in taken.results.items():
        notes = taken.notes if kind == "flags" else {}
        for name, item in results.items():
            fate = Fate(item.outcome.value)
            told = notes.get(name, ())
            yield _Found(kind.removesuffix("s"), name, fate, item.changes, item.errors, told)
    for name, why in taken.left_out.items():
        yield _Found("flag", name, Fate.LEFT_OUT, notes=why)


def _line(item: _Found) -> Line:
    rows = [
        FieldChange(field, change.old, change.new)
        for field, change in item.changes.items()
        # That of a new flag is its name where nothing else was given.
        if field != "stickiness" or change.new != item.name or change.old
    ]
    return Line(
        kind=item.kind,
        name=item.name,
        fate=item.fate,
        changes=told_changes(rows),
        complaints=[f"{field}: {text}" for field, texts in item.errors.items() for text in texts],
        notes=item.notes,
    )


def _mark(found: Sequence[_Found]) -> str:
    told = [
        (*item[:3], {name: [change.old, change.new] for name, change in item.changes.items()})
        for item in found
    ]
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _whole(text: str) -> int:
    is_whole = len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()
    return max(1, int(text)) if is_whole else 1

"""What becomes of flags of another system: those to import, and what does not come along."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.flags.validation import complaints_about
from webapp.flags.values import RESERVED_NAMES, FlagChanges, FlagDraft

Notes = dict[str, list[str]]


class NotTaken(Exception):
    """Something that no flag of ours does alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Flags to import by name; ``notes`` says what of them differs, ``left_out`` why others stay.

    A flag that is taken over is never on for more subjects than it was.
    """

    flags: Mapping[str, FlagChanges] = field(default_factory=dict)
    notes: Notes = field(default_factory=dict)
    left_out: Notes = field(default_factory=dict)


def adoption_of(flags: Mapping[str, FlagChanges], notes: Notes, left_out: Notes) -> Adoption:
    """Leave out what no flag of ours may hold, and what builds on something that is left out."""
    kept, out = dict(flags), dict(left_out)
    for name, changes in flags.items():
        if wrong := _complaints(name, changes):
            out[name] = wrong
            del kept[name]
    while gone := _building_on(out, kept):
        kept = {name: changes for name, changes in kept.items() if name not in gone}
        out |= gone
    return Adoption(
        flags=kept,
        notes={name: told for name, told in notes.items() if told and name in kept},
        left_out=out,
    )


def fits(**values: Any) -> bool:
    """Tell whether a flag may hold these values."""
    return complaints_about(FlagDraft(name="a", **values)).keys().isdisjoint(values)


def texts(found: Sequence[str]) -> tuple[str, ...]:
    """Return each text once, in order."""
    return tuple(dict.fromkeys(found))


def _building_on(out: Notes, kept: Mapping[str, FlagChanges]) -> Notes:
    return {
        name: [f"It builds on {item.flag}, which is left out."]
        for name, changes in kept.items()
        for item in changes.given().get("prerequisites", ())
        if item.flag in out
    }


def _complaints(name: str, changes: FlagChanges) -> list[str]:
    if name in RESERVED_NAMES:
        return ["name: Is an address of the console's own."]
    found = complaints_about(FlagDraft(name=name, **changes.given()))
    return [f"{field}: {message}" for field, messages in found.items() for message in messages]

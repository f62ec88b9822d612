"""How flags read on their pages: choices of filters, and long lists in a few words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from webapp.audit.values import Entry, FieldChange
from webapp.flags.forms import override_text
from webapp.flags.queries import FlagList
from webapp.flags.values import FlagState, Override

_FEW: Final = 5

Options = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What each filter of the list offers, as values and words."""

    states: Options
    environments: Options
    tags: Options


def choices_of(found: FlagList) -> Choices:
    """Return the choices that fit the flags there are."""
    return Choices(
        states=[(state.value, state.value.replace("_", " ").capitalize()) for state in FlagState],
        environments=[(name, name) for name in found.environments],
        tags=[(tag, tag) for tag in found.tags],
    )


def some_of(items: Sequence[str], nothing: str = "nobody") -> str:
    """Name the first few of a list, and count the rest."""
    if not items:
        return nothing
    rest = len(items) - _FEW
    return ", ".join(items[:_FEW]) + (f" and {rest:,} more" if rest > 0 else "")


def overrides_of(overrides: dict[str, Override]) -> Options:
    """Return each environment's override as it is typed."""
    return [(name, override_text(value)) for name, value in overrides.items()]


def shortened(entries: Iterable[Entry]) -> list[Entry]:
    """Return audit entries whose changes of long lists tell what came and went."""
    return [replace(entry, changes=tuple(map(_short, entry.changes))) for entry in entries]


def _short(change: FieldChange) -> FieldChange:
    old, new = change.old, change.new
    if not isinstance(new, list) or max(len(new), len(old or ())) <= _FEW:
        return FieldChange(change.field, _trimmed(old), _trimmed(new))
    return FieldChange(change.field, _without(old or [], new), _without(new, old or []))


def _trimmed(value: Any) -> Any:
    """Write a percentage without its zeros."""
    return f"{value:g}" if isinstance(value, float) else value


def _without(items: list[Any], others: list[Any]) -> str:
    """Say how many there are, and which of them are not among the others."""
    known = frozenset(others)
    only = [str(item) for item in items if item not in known]
    named = f": {some_of(only)}" if only else ""
    return f"{len(items):,}{named}"

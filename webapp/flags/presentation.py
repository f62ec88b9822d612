"""How flags read on their pages: what filters and fields offer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from webapp.flags.queries import FlagList
from webapp.flags.validation import References
from webapp.flags.values import FlagState, Override
from webapp.flags.wording import OPERATORS, override_text

Options = Sequence[tuple[str, str]]
# Beyond this many flags one types a name rather than looks for it in a list.
_MOST_TO_CHOOSE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What each filter of the list offers, as values and words."""

    states: Options
    environments: Options
    tags: Options
    groups: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What the fields of a flag's form offer: comparisons, segments, groups and other flags."""

    segments: Sequence[str] = ()
    groups: Sequence[str] = ()
    flags: Sequence[str] = ()
    operators: Options = tuple((item.value, words) for item, words in OPERATORS.items())

    @property
    def many_flags(self) -> bool:
        """Tell whether there are too many flags for a list to choose from."""
        return len(self.flags) > _MOST_TO_CHOOSE

    def group_options(self, typed: str) -> Options:
        """Return the groups to choose from, and one that was typed and is not there."""
        return _options("No group", self.groups, typed)

    def flag_options(self, typed: str) -> Options:
        """Return the flags to choose from, and one that was typed and is not there."""
        return _options("Choose a flag", self.flags, typed)


def _options(nothing: str, names: Sequence[str], typed: str) -> Options:
    gone = [(typed, f"{typed} (not there)")] if typed and typed not in names else []
    return [("", nothing), *gone, *((name, name) for name in names)]


def offers_of(known: References, name: str) -> Offers:
    """Return what there is to refer to, for the form of the flag of this name."""
    return Offers(
        segments=sorted(known.segments),
        groups=sorted(known.groups),
        flags=sorted(set(known.prerequisites) - {name}),
    )


def choices_of(found: FlagList) -> Choices:
    """Return the choices that fit the flags there are."""
    return Choices(
        states=[(state.value, state.value.replace("_", " ").capitalize()) for state in FlagState],
        environments=[(name, name) for name in found.environments],
        tags=[(tag, tag) for tag in found.tags],
        groups=[(name, name) for name in found.groups],
    )


def overrides_of(overrides: dict[str, Override]) -> Options:
    """Return each environment's override as it is typed."""
    return [(name, override_text(value)) for name, value in overrides.items()]

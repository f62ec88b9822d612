"""How flags read on their pages: what filters and fields offer, and changes as they are told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from webapp.audit.values import Entry
from webapp.flags.queries import FlagList
from webapp.flags.rollout import Rollout
from webapp.flags.validation import References
from webapp.flags.values import GUARD_METRICS, FlagState, GuardAction, Override, RolloutState
from webapp.flags.wording import OPERATORS, override_text, told_changes
from webapp.formats import duration

Options = Sequence[tuple[str, str]]
# Beyond this many flags one types a name rather than looks for it in a list.
_MOST_TO_CHOOSE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What each filter of the list offers, as values and words."""

    states: Options
    rollouts: Options
    environments: Options
    tags: Options
    groups: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What the fields of a flag's form offer: comparisons, segments, groups, other flags, and what
    guards look at: ``scopes`` are breakers and types of jobs.
    """

    segments: Sequence[str] = ()
    groups: Sequence[str] = ()
    flags: Sequence[str] = ()
    scopes: Sequence[str] = ()
    operators: Options = tuple((item.value, words) for item, words in OPERATORS.items())
    metrics: Options = tuple((item.value, facts.title) for item, facts in GUARD_METRICS.items())
    actions: Options = (
        (GuardAction.ROLL_BACK.value, "roll back a step"),
        (GuardAction.HALT.value, "halt the plan"),
    )

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


def offers_of(known: References, name: str, scopes: Iterable[str] = ()) -> Offers:
    """Return what there is to refer to, for the form of the flag of this name."""
    return Offers(
        scopes=sorted(set(scopes)),
        segments=sorted(known.segments),
        groups=sorted(known.groups),
        flags=sorted(set(known.prerequisites) - {name}),
    )


def choices_of(found: FlagList) -> Choices:
    """Return the choices that fit the flags there are."""
    return Choices(
        states=_words(FlagState),
        rollouts=[option for option in _words(RolloutState) if option[0] != RolloutState.NONE],
        environments=[(name, name) for name in found.environments],
        tags=[(tag, tag) for tag in found.tags],
        groups=[(name, name) for name in found.groups],
    )


def _words(states: Iterable[StrEnum]) -> Options:
    return [(state.value, state.value.replace("_", " ").capitalize()) for state in states]


def overrides_of(overrides: dict[str, Override]) -> Options:
    """Return each environment's override as it is typed."""
    return [(name, override_text(value)) for name, value in overrides.items()]


def resuming(rollout: Rollout) -> str:
    """Say what resuming does, for whoever is asked."""
    step = rollout.next_step
    if step is None:
        return "Its guards begin anew."
    left = int(rollout.left.total_seconds())
    comes = f"comes in {duration(left)}" if left else "is taken at once"
    return f"The next step, {step.percentage:g} %, {comes}. Its guards begin anew."


def shortened(entries: Iterable[Entry]) -> list[Entry]:
    """Return audit entries whose changes read as a person would tell them."""
    return [replace(entry, changes=tuple(told_changes(entry.changes))) for entry in entries]

"""How flags read on their pages: choices of filters, lists and decisions in a few words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from webapp.flags.explanation import Explanation, StepName, StepOutcome
from webapp.flags.forms import override_text
from webapp.flags.queries import FlagList
from webapp.flags.values import FlagState, Override
from webapp.web.filters import utc

_FEW: Final = 5

Options = Sequence[tuple[str, str]]
Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What each filter of the list offers, as values and words."""

    states: Options
    environments: Options
    tags: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One step of a decision, in words."""

    title: str
    fact: str
    outcome: StepOutcome


def lines_of(explanation: Explanation) -> list[StepLine]:
    """Return the steps of a decision as they are told to a person."""
    return [
        StepLine(
            title=_TITLES[step.name], fact=_FACTS[step.name](step.inputs), outcome=step.outcome
        )
        for step in explanation.steps
    ]


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


def _listing(inputs: Inputs) -> str:
    if not inputs["size"]:
        return "nobody is listed"
    if inputs["subject"] is None:
        return "no subject was named"
    listed = "is among" if inputs["listed"] else "is not among"
    return f"{inputs['subject']} {listed} the {inputs['size']:,}"


def _window(inputs: Inputs) -> str:
    begin, end = inputs["starts_at"], inputs["expires_at"]
    since = f"from {utc(begin)}" if begin else ""
    until = f"until {utc(end)}" if end else ""
    return " ".join(filter(None, (since, until))) or "always"


def _override(inputs: Inputs) -> str:
    override = inputs["override"]
    return f"{inputs['environment']}: {'none' if override is None else override_text(override)}"


def _prerequisites(inputs: Inputs) -> str:
    """Name the flags that must answer, and those that do not as they must."""
    flags = inputs["flags"]
    if not flags:
        return "none"
    wanted = {True: "on", False: "off"}
    return ", ".join(
        f"{item['flag']} must be {wanted[item['wanted']]}"
        + ("" if item["met"] else f" but is {wanted[item['enabled']]} ({item['reason']})")
        for item in flags
    )


def _percentage(inputs: Inputs) -> str:
    share = f"{inputs['percentage']:g} % of the {inputs['percentage_of']}"
    for rule in inputs["rules"]:
        holds = "holds" if rule["holds"] else "does not hold"
        share += f", rule {rule['name']} ({rule['percentage']:g} %) {holds}"
    if inputs["bucket"] is None:
        return f"{share}, no subject was named"
    return f"{share}, {inputs['subject']} is in bucket {inputs['bucket']:.2f}"


_TITLES: Final[Mapping[StepName, str]] = {
    StepName.KNOWN: "In use",
    StepName.SWITCH: "Switch",
    StepName.WINDOW: "Window",
    StepName.PREREQUISITES: "Prerequisites",
    StepName.BLACKLIST: "Never on for",
    StepName.ENVIRONMENT_OVERRIDE: "Override",
    StepName.ENVIRONMENTS: "Environments",
    StepName.WHITELIST: "Always on for",
    StepName.PERCENTAGE: "Rollout",
}
_FACTS: Final[Mapping[StepName, Callable[[Inputs], str]]] = {
    StepName.KNOWN: lambda inputs: "archived" if inputs["archived"] else "yes",
    StepName.SWITCH: lambda inputs: "on" if inputs["enabled"] else "off",
    StepName.WINDOW: _window,
    StepName.PREREQUISITES: _prerequisites,
    StepName.BLACKLIST: _listing,
    StepName.ENVIRONMENT_OVERRIDE: _override,
    StepName.ENVIRONMENTS: lambda inputs: some_of(inputs["environments"], "all"),
    StepName.WHITELIST: _listing,
    StepName.PERCENTAGE: _percentage,
}

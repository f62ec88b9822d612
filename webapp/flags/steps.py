"""The steps of a decision, in words for whoever tries a flag."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from webapp.flags.explanation import Explanation, Step, StepName, StepOutcome
from webapp.flags.values import Condition
from webapp.flags.wording import condition_in_words, override_text, some_of
from webapp.formats import plain, utc

Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One thing that a step looked at, whether it held, and what it is made of."""

    title: str
    fact: str
    holds: bool
    parts: Sequence["Detail"] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One step of a decision, in words."""

    title: str
    fact: str
    outcome: StepOutcome
    details: Sequence[Detail] = ()


def lines_of(explanation: Explanation) -> list[StepLine]:
    """Return the steps of a decision as they are told to a person."""
    return [
        StepLine(
            title=_TITLES[step.name],
            fact=_FACTS[step.name](step.inputs),
            outcome=step.outcome,
            details=_details(step),
        )
        for step in explanation.steps
    ]


def _details(step: Step) -> list[Detail]:
    if step.name is StepName.PREREQUISITES:
        return [_prerequisite(item) for item in step.inputs["flags"]]
    if step.name is StepName.PERCENTAGE:
        return [_rule(item) for item in step.inputs["rules"]]
    return []


def _prerequisite(item: Inputs) -> Detail:
    words = {True: "on", False: "off"}
    fact = f"must be {words[item['wanted']]}, is {words[item['enabled']]} ({item['reason']})"
    return Detail(title=item["flag"], fact=fact, holds=item["met"])


def _rule(item: Inputs) -> Detail:
    parts = [_condition(condition) for condition in item["conditions"]]
    parts += [
        Detail(title=f"segment {segment['name']}", fact="", holds=segment["holds"])
        for segment in item["segments"]
    ]
    fact = f"{item['percentage']:g} %"
    return Detail(title=f"Rule {item['name']}", fact=fact, holds=item["holds"], parts=parts)


def _condition(item: Inputs) -> Detail:
    condition = Condition(
        attribute=item["attribute"],
        operator=item["operator"],
        values=item["values"],
        negate=item["negate"],
    )
    found = "missing" if item["found"] is None else f"found {plain(item['found'])}"
    return Detail(title=condition_in_words(condition), fact=found, holds=item["holds"])


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
    flags = inputs["flags"]
    if not flags:
        return "none"
    met = sum(item["met"] for item in flags)
    return f"{met} of {len(flags)} answer as they must"


def _percentage(inputs: Inputs) -> str:
    share = f"{inputs['percentage']:g} % of the {inputs['percentage_of']}"
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

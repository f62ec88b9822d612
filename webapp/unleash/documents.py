"""Flags as the features that Unleash's SDKs decide, for one environment.  Pure.

A feature is on where one of its strategies is, so each way to be on becomes one: the whitelist,
the rollout, and each rule that reaches further.  What turns a flag off for somebody stands in all
of them.  The buckets of rollouts and variants are the same there.

An SDK never turns on what is off here.  What it cannot decide alike is left off: the hundredths of
a percentage, a rule with a condition that no constraint equals, and a flag whose prerequisites it
would not understand.  Each is told as a loss, in words for whoever made the flag.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from webapp.flags.bucketing import EVERYBODY, threshold_of
from webapp.flags.values import (
    Condition,
    FlagDefinition,
    FlagSet,
    Prerequisite,
    Rule,
    Variant,
)
from webapp.unleash.constraints import (
    SUBJECT,
    Document,
    among,
    constraint_of,
    not_among,
    window,
)

_PERCENT: Final = 100
# No environment bears this name: it stands for all that no flag speaks of.
_ELSEWHERE: Final = ""


@dataclass(frozen=True, slots=True)
class Feature:
    """A flag as SDKs get it; ``losses`` says what of it they leave off."""

    strategies: Sequence[Document] = ()
    needs: Sequence[Document] = ()
    losses: Sequence[str] = ()


def features_of(found: FlagSet, environment: str) -> list[Document]:
    """Return all flags of an environment, by name."""
    written = _Written(found, environment)
    return [_document(name, written.feature(name)) for name in sorted(found.flags)]


def losses_of(flag: FlagDefinition, found: FlagSet) -> list[str]:
    """Say what of a flag SDKs leave off, in any environment; ``found`` is what it builds on."""
    known = FlagSet(found.revision, {**found.flags, flag.name: flag}, found.segments)
    told = [_Written(known, place).feature(flag.name).losses for place in _places(flag, known)]
    return list(dict.fromkeys(loss for losses in told for loss in losses))


def _places(flag: FlagDefinition, found: FlagSet) -> Iterable[str]:
    """Return the environments that a flag speaks of, or one that it builds on, and one more."""
    places, names = {_ELSEWHERE: None}, [flag.name]
    for name in names:
        if (item := found.flags.get(name)) is not None:
            places |= dict.fromkeys((*item.environments, *item.environment_overrides))
            # Each once; this is what is gone through.
            names += [needed.flag for needed in item.prerequisites if needed.flag not in names]
    return places


@dataclass(slots=True)
class _Written:
    """The flags of one environment, each written once: others may build on it."""

    found: FlagSet
    environment: str
    done: dict[str, Feature] = field(default_factory=dict)

    def feature(self, name: str) -> Feature:
        if name not in self.done:
            self.done[name] = self._feature(self.found.flags[name])
        return self.done[name]

    def _feature(self, flag: FlagDefinition) -> Feature:
        strategies, losses = self._strategies(flag)
        if not strategies:
            return Feature(losses=losses)
        needs, of_needs = self._needs(flag.prerequisites)
        if needs is None:
            return Feature(losses=of_needs)
        return Feature(strategies, needs, (*losses, *of_needs))

    def _strategies(self, flag: FlagDefinition) -> tuple[list[Document], list[str]]:
        """Return the ways to be on, none where it is off for everybody."""
        override = flag.environment_overrides.get(self.environment)
        outside = bool(flag.environments) and self.environment not in flag.environments
        # A percentage of its own does not make an environment one of the flag's.
        if not flag.enabled or override is False or (override is not True and outside):
            return [], []
        always = window(flag.starts_at, flag.expires_at)
        if flag.blacklist:
            always.append(not_among(flag.blacklist))
        ways = _Ways(flag, always)
        if override is True:
            ways.add_all(())
            return ways.strategies, []
        if flag.whitelist:
            ways.add_all([among(flag.whitelist)])
        own = threshold_of(flag.percentage if override is None else override)
        ways.add(own, ())
        for rule in flag.rules:
            self._add_rule(rule, own, ways)
        return ways.strategies, ways.losses

    def _add_rule(self, rule: Rule, own: int, ways: "_Ways") -> None:
        threshold = threshold_of(rule.percentage)
        # One that names a segment that there is not holds for nobody.
        if threshold <= own or any(name not in self.found.segments for name in rule.segments):
            return
        shared = [item for name in rule.segments for item in self.found.segments[name]]
        constraints: list[Document] = []
        for condition in (*rule.conditions, *shared):
            constraint = constraint_of(condition)
            if constraint is None:
                ways.losses.append(f"the rule {rule.name} is left out ({_said(condition)})")
                return
            constraints.append(constraint)
        ways.add(threshold, constraints, beyond=own)

    def _needs(
        self, prerequisites: Iterable[Prerequisite]
    ) -> tuple[list[Document] | None, list[str]]:
        """Return the parents of a feature, None where SDKs would not decide by them as we do."""
        needs: list[Document] = []
        losses: list[str] = []
        for item in prerequisites:
            if item.flag not in self.found.flags:
                # It is off, which is as it must be or keeps this one off for everybody.
                if item.enabled:
                    return None, []
                continue
            parent = self.feature(item.flag)
            if parent.needs:
                return None, [f"off for everybody: {item.flag} has prerequisites of its own"]
            if parent.losses and not item.enabled:
                return None, [f"off for everybody: {item.flag} is not decided alike"]
            if parent.losses:
                losses.append(f"off where {item.flag} is left off")
            needs.append({"feature": item.flag, "enabled": item.enabled})
        return needs, losses


class _Ways:
    """The strategies of one feature as they come together, and what is lost on the way."""

    def __init__(self, flag: FlagDefinition, always: Sequence[Document]) -> None:
        self.strategies: list[Document] = []
        self.losses: list[str] = []
        self._always = always
        self._group = flag.stickiness or flag.name
        self._variants = [_variant(variant) for variant in flag.variants if variant.weight > 0]

    def add(self, threshold: int, fits: Sequence[Document], *, beyond: int = 0) -> None:
        """Add a share of those whom ``fits`` holds for, where it reaches beyond another."""
        if threshold >= EVERYBODY:
            self.add_all(fits)
            return
        percent, hundredths = divmod(threshold, _PERCENT)
        if hundredths:
            self.losses.append(f"{threshold / _PERCENT:g} % counts as {percent} %")
        if percent > beyond // _PERCENT:
            self._add("flexibleRollout", fits, {"rollout": str(percent)})

    def add_all(self, fits: Sequence[Document]) -> None:
        """Add everybody whom ``fits`` holds for, also where nobody is named."""
        self._add("default", fits, {})

    def _add(self, name: str, fits: Sequence[Document], parameters: Mapping[str, str]) -> None:
        strategy = {
            "name": name,
            "constraints": [*self._always, *fits],
            # Variants are chosen by these too.
            "parameters": {**parameters, "stickiness": SUBJECT, "groupId": self._group},
        }
        if self._variants:
            strategy["variants"] = self._variants
        self.strategies.append(strategy)


def _document(name: str, feature: Feature) -> Document:
    written: dict[str, Any] = {
        "name": name,
        "type": "release",
        "project": "default",
        # Without a strategy a feature that is enabled would be on for everybody.
        "enabled": bool(feature.strategies),
        "stale": False,
        "impressionData": False,
        "strategies": feature.strategies,
        "variants": [],
    }
    return written | {"dependencies": feature.needs} if feature.needs else written


def _variant(variant: Variant) -> Document:
    written = {"name": variant.name, "weight": variant.weight, "stickiness": SUBJECT}
    value = variant.value
    if value is None:
        return written
    if isinstance(value, str):
        return written | {"payload": {"type": "string", "value": value}}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = "number" if is_number else "json"
    return written | {"payload": {"type": kind, "value": json.dumps(value, ensure_ascii=False)}}


def _said(condition: Condition) -> str:
    turned = "not " if condition.negate else ""
    return f"{condition.attribute} {turned}{condition.operator.replace('_', ' ')}"

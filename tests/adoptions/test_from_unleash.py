"""Features of Unleash become flags that are on for the same subjects, and never for more."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yggdrasil_engine.engine import UnleashEngine

from tests.flags import strategies
from tests.unleash.every_field import FLAGS, NOW, subject_of, there
from webapp.adoptions.adoption import Adoption
from webapp.adoptions.from_unleash import adopt_unleash
from webapp.adoptions.schemas import UnleashExport
from webapp.errors import Invalid
from webapp.flags.tables import FlagTables
from webapp.flags.values import (
    EvaluationContext,
    FlagChanges,
    FlagDefinition,
    FlagSet,
)
from webapp.unleash.documents import features_of, losses_of

Json = dict[str, Any]


def adopted(export: Json, environment: str | None = None) -> Adoption:
    return adopt_unleash(UnleashExport.model_validate_json(json.dumps(export)), environment)


def flags_of(adoption: Adoption) -> FlagSet:
    """The flags as they are once they are imported."""
    kinds = FlagDefinition.__dataclass_fields__.keys() - {"name"}
    found = {
        name: FlagDefinition(
            name=name,
            **{key: value for key, value in changes.given().items() if key in kinds},
        )
        for name, changes in adoption.flags.items()
    }
    return FlagSet(1, found, {})


def only(export: Json) -> tuple[FlagChanges, list[str]]:
    adoption = adopted(export)
    assert adoption.left_out == {}
    ((name, changes),) = adoption.flags.items()
    return changes, list(adoption.notes.get(name, []))


def feature(*strategies_: Json, **more: Any) -> Json:
    one = {"name": "f", "enabled": True, "strategies": list(strategies_)} | more
    return {"version": 2, "features": [one]}


def strategy(name: str, constraints: list[Json] | None = None, **parameters: str) -> Json:
    return {"name": name, "parameters": parameters, "constraints": constraints}


def rollout(share: int, group: str = "f", **more: Any) -> Json:
    given = {"rollout": str(share), "stickiness": "default", "groupId": group}
    return {"name": "flexibleRollout", "parameters": given, "constraints": []} | more


def constraint(name: str, operator: str, *values: str, **more: Any) -> Json:
    return {"contextName": name, "operator": operator, "values": list(values)} | more


def test_what_this_console_hands_out_comes_back_as_it_was() -> None:
    there_ = adopted({"version": 2, "features": features_of(FLAGS, "staging")})
    assert there_.notes == {}
    # Off by a flag that there is not: the document does not name it.
    assert there_.left_out == {}
    back = FlagTables(flags_of(there_), "staging", None).table(None)
    here = FlagTables(FLAGS, "staging", None).table(None)
    for number in range(300):
        context = subject_of(number)
        for name in FLAGS.flags:
            first, second = here.find(name), back.find(name)
            assert first is not None
            assert second is not None
            before, after = first.ask(context), second.ask(context)
            assert (before.enabled, before.variant, before.value) == (
                after.enabled,
                after.variant,
                after.value,
            ), (name, context)


contexts = st.builds(
    EvaluationContext,
    subject=st.sampled_from(["a", "b", "c", "d"]) | st.text("abcdefghij", min_size=1, max_size=8),
    environment=strategies.environments,
    now=st.sampled_from([strategies.NOW + timedelta(minutes=minutes) for minutes in (-90, 0, 30)]),
    attributes=st.dictionaries(
        strategies.attribute_names, st.sampled_from(["pro", "free", "1", "1.0.0"]), max_size=3
    ),
)


@given(strategies.deployments(), contexts)
def test_any_flag_comes_back_as_sdks_have_it(found: FlagSet, context: EvaluationContext) -> None:
    environment = context.environment
    adoption = adopted({"version": 2, "features": features_of(found, environment)})
    back = FlagTables(flags_of(adoption), environment, None).table(None)
    here = FlagTables(found, environment, None).table(None)
    # A window that ends before it begins is drawn, and saved by nobody.
    kept = {name: item for name, item in found.flags.items() if name not in adoption.left_out}
    assert set(adoption.flags) == set(kept)
    for name, item in kept.items():
        first, second = here.find(name), back.find(name)
        assert first is not None
        assert second is not None
        if second.ask(context).enabled or not losses_of(item, found):
            assert second.ask(context).enabled is first.ask(context).enabled


ODD: Final[Mapping[str, Json]] = {
    "nothing": strategy("default"),
    "ids": strategy("userWithId", userIds="user-1, user-2,,Zoë"),
    "ids of some": strategy("userWithId", [constraint("plan", "IN", "pro")], userIds="user-1"),
    "older": strategy("gradualRolloutUserId", percentage="30", groupId="g"),
    "random": strategy("flexibleRollout", rollout="50", stickiness="random", groupId="g"),
    "random still": strategy("gradualRolloutRandom", percentage="50"),
    "no share": rollout(0),
    "all": rollout(100),
    "of its own": strategy("ourOwn"),
    "not in it": strategy("default", [constraint("plan", "IN", "pro", inverted=True)]),
    "out of it": strategy("default", [constraint("plan", "NOT_IN", "pro", inverted=True)]),
    "not more": strategy("default", [constraint("seats", "NUM_GT", value="5", inverted=True)]),
    "just": strategy("default", [constraint("seats", "NUM_EQ", value="5.0")]),
    "not just": strategy("default", [constraint("seats", "NUM_EQ", value="5", inverted=True)]),
    "any case": strategy(
        "default", [constraint("mail", "STR_ENDS_WITH", "@EXAMPLE.ORG", caseInsensitive=True)]
    ),
    "not in any case": strategy(
        "default",
        [constraint("mail", "STR_CONTAINS", "7@", caseInsensitive=True, inverted=True)],
    ),
    "not newer": strategy(
        "default", [constraint("version", "SEMVER_GT", value="1.1.0", inverted=True)]
    ),
    "newer somehow": strategy("default", [constraint("version", "SEMVER_GTE", value="1.1.0")]),
    "not somebody": strategy("default", [constraint("userId", "NOT_IN", "user-3")]),
    "only somebody": strategy("default", [constraint("userId", "IN", "user-3")]),
    "somebody, in part": rollout(50, constraints=[constraint("userId", "IN", "user-3")]),
    "like somebody": strategy("default", [constraint("userId", "STR_STARTS_WITH", "user-1")]),
    "begun": strategy(
        "default", [constraint("currentTime", "DATE_AFTER", value="2026-11-01T00:00:00Z")]
    ),
    "over": strategy(
        "default", [constraint("currentTime", "DATE_BEFORE", value="2026-11-01T00:00:00Z")]
    ),
    "not before": strategy(
        "default",
        [constraint("currentTime", "DATE_BEFORE", value="2026-11-22T12:00:00Z", inverted=True)],
    ),
    "not after": strategy(
        "default",
        [constraint("currentTime", "DATE_AFTER", value="2026-11-22T12:00:00Z", inverted=True)],
    ),
    "a segment": strategy("default") | {"segments": [1]},
    "switched off": strategy("default") | {"disabled": True},
}
SEGMENT: Final = {
    "id": 1,
    "name": "seated",
    "constraints": [constraint("seats", "NUM_GTE", value="10")],
}


def engine_of(export: Json) -> UnleashEngine:
    engine = UnleashEngine()
    strict = json.loads(json.dumps(export))
    for item in strict["features"]:
        # The server does not hand these out.
        item["strategies"] = [one for one in item["strategies"] if not one.get("disabled")]
        for one in item["strategies"]:
            one["constraints"] = one["constraints"] or []
    engine.take_state(json.dumps(strict))
    return engine


@given(st.lists(st.sampled_from(list(ODD)), min_size=1, max_size=3, unique=True))
def test_a_flag_is_never_on_for_more_than_the_feature_was(names: list[str]) -> None:
    export = feature(*(ODD[name] for name in names)) | {"segments": [SEGMENT]}
    if all(ODD[name].get("disabled") for name in names):
        return
    engine, adoption = engine_of(export), adopted(export)
    compiled = FlagTables(flags_of(adoption), "any", None).table(None).find("f")
    assert compiled is not None
    told = adoption.notes.get("f", [])
    for number in range(0, 120, 3):
        context = replace_odd(subject_of(number))
        ours = compiled.ask(context).enabled
        theirs = bool(engine._do_is_enabled("f", there(context)))
        assert theirs or not ours, (context, told)
        if not told and context.attributes:
            assert ours is theirs, context


def replace_odd(context: EvaluationContext) -> EvaluationContext:
    """One millisecond past the moment: what begins with it has begun."""
    return context._replace(now=NOW + timedelta(milliseconds=1))


EXPORT: Final[Json] = {
    "features": [
        {
            "name": "checkout",
            "description": "The new checkout",
            "type": "release",
            "project": "shop",
            "stale": False,
            "archived": False,
        },
        {"name": "child", "type": "experiment", "project": "shop"},
        {"name": "old", "archived": True},
        {"name": "CamelCase"},
        {"name": "grandchild"},
        {"name": "export"},
    ],
    "featureStrategies": [
        {
            "name": "flexibleRollout",
            "id": "1",
            "featureName": "checkout",
            "title": "Half of the paying",
            "parameters": {"groupId": "checkout", "rollout": "50", "stickiness": "default"},
            "constraints": [constraint("plan", "IN", "pro", "team")],
            "variants": [],
            "segments": [],
            "disabled": False,
        },
        {
            "name": "default",
            "featureName": "checkout",
            "parameters": {},
            "constraints": [],
            "segments": [1],
        },
        {"name": "default", "featureName": "child", "constraints": None},
    ],
    "featureEnvironments": [
        {
            "name": "development",
            "featureName": "checkout",
            "environment": "development",
            "enabled": True,
            "variants": [
                {
                    "name": "blue",
                    "weight": 500,
                    "weightType": "variable",
                    "stickiness": "random",
                    "overrides": [{"contextName": "userId", "values": ["1"]}],
                    "payload": {"type": "json", "value": '{"hex": "#00f"}'},
                },
                {"name": "red", "weight": 500, "payload": {"type": "number", "value": "1.5"}},
                {"name": "odd", "weight": 0, "payload": {"type": "json", "value": "{"}},
            ],
        },
        {"featureName": "child", "environment": "development", "enabled": True},
    ],
    "contextFields": [{"name": "plan"}],
    "featureTags": [
        {"featureName": "checkout", "tagType": "simple", "tagValue": "user-facing"},
        {"featureName": "checkout", "tagType": "simple", "tagValue": "User Facing"},
    ],
    "segments": [{"id": 1, "name": "neighbours"}],
    "tagTypes": [{"name": "simple"}],
    "dependencies": [
        {"feature": "child", "dependencies": [{"feature": "checkout", "variants": ["blue"]}]},
        {"feature": "grandchild", "dependencies": [{"feature": "CamelCase", "enabled": True}]},
    ],
}


SEGMENT_UNKNOWN: Final = (
    "The strategy 'strategy 2' is left out: the export does not say what the segment neighbours is."
)
OF_ITS_OWN: Final = (
    "The strategy 'strategy 1' is left out: it has a time, or subjects that it is never on for, "
    "which others do not have."
)


def test_an_export_is_read_with_what_stands_beside_its_features() -> None:
    adoption = adopted(EXPORT)
    assert set(adoption.flags) == {"checkout", "child"}
    given = adoption.flags["checkout"].given()
    assert given["enabled"] is True
    assert (given["description"], given["tags"]) == ("The new checkout", ("user-facing",))
    assert given["metadata"] == {"unleash": {"project": "shop", "type": "release"}}
    (rule,) = given["rules"]
    assert (rule.name, rule.percentage) == ("Half of the paying", 50.0)
    assert [(item.name, item.weight, item.value) for item in given["variants"]] == [
        ("blue", 500, {"hex": "#00f"}),
        ("red", 500, 1.5),
        ("odd", 0, "{"),
    ]
    assert "environments" not in given
    assert adoption.notes == {
        "checkout": [
            SEGMENT_UNKNOWN,
            "Variants stick to the subject, and to nothing else.",
            "Overrides of its variants are left out.",
        ],
        "child": ["It is switched off: it needs certain variants of checkout."],
    }
    assert adoption.flags["child"].enabled is False
    assert adoption.left_out == {
        "old": ["It is archived."],
        "CamelCase": [
            "name: Lower-case words joined by '.', '_' or '-', such as ui.dashboard.new_layout."
        ],
        "grandchild": ["It builds on CamelCase, which is left out."],
        "export": ["name: Is an address of the console's own."],
    }


def test_a_flag_may_be_for_the_environment_that_was_exported_only() -> None:
    assert adopted(EXPORT, "development").flags["checkout"].environments == ("development",)


def test_of_several_environments_one_is_to_be_named() -> None:
    two = EXPORT | {
        "featureEnvironments": [
            {"featureName": "checkout", "environment": "production", "enabled": False},
            {"featureName": "checkout", "environment": "development", "enabled": True},
        ]
    }
    with pytest.raises(Invalid) as refused:
        adopted(two)
    assert refused.value.errors == {
        "environment": ["Name one of those exported: development, production."]
    }
    for environment, enabled in (("production", False), ("development", True)):
        found = adopted(two, environment).flags["checkout"]
        assert (found.enabled, found.environments) == (enabled, (environment,))


NO_TIME: Final = strategy("default", [constraint("currentTime", "DATE_AFTER", value="soon")])
NO_NUMBER: Final = strategy("default", [constraint("seats", "NUM_GT", value="many")])
NOTED: Final[dict[str, tuple[Json, str]]] = {
    "no time": (feature(NO_TIME), "The strategy 'strategy 1' is left out: 'soon' is no time."),
    "no next moment": (
        feature(
            strategy(
                "default",
                [constraint("currentTime", "DATE_AFTER", value="9999-12-31T23:59:59.9999Z")],
            )
        ),
        "The strategy 'strategy 1' is left out: '9999-12-31T23:59:59.9999Z' is no time.",
    ),
    "no share": (
        feature(strategy("flexibleRollout", rollout="half")),
        "The strategy 'strategy 1' is left out: 'half' is no percentage.",
    ),
    "no number": (
        feature(NO_NUMBER),
        "The strategy 'strategy 1' is left out: nothing here compares seats with that.",
    ),
    "unheard of": (
        feature(strategy("default", [constraint("plan", "SOUNDS_LIKE", "pro")])),
        "The strategy 'strategy 1' is left out: nothing here compares as SOUNDS_LIKE does.",
    ),
    "another group": (
        feature(rollout(50, "a"), rollout(60, "b")),
        "The strategy 'strategy 2' is left out: it has another group.",
    ),
    "a time of its own": (
        feature(ODD["begun"], rollout(50)),
        OF_ITS_OWN,
    ),
    "variants of its own": (
        feature(rollout(50, variants=[{"name": "a", "weight": 1}]), rollout(10)),
        "Its variants are left out: its strategies have different ones.",
    ),
    "variants of another group": (
        feature(rollout(50, "other"), variants=[{"name": "a", "weight": 1}]),
        "Subjects are given variants anew: the groups of strategies differ.",
    ),
}


@pytest.mark.parametrize("case", NOTED.values(), ids=NOTED)
def test_what_does_not_come_along_is_told(case: tuple[Json, str]) -> None:
    export, note = case
    assert only(export)[1] == [note]


def test_a_feature_without_strategies_is_on_for_everybody() -> None:
    changes, notes = only(feature())
    assert (changes.percentage, notes) == (100.0, [])
    # With none that is switched on it is not.
    assert only(feature(ODD["switched off"]))[0].percentage == 0.0


def test_names_of_rules_are_each_there_once() -> None:
    same = rollout(50, title="Some", constraints=[constraint("plan", "IN", "pro")])
    changes, _ = only(feature(same, same))
    rules = changes.given()["rules"]
    assert [rule.name for rule in rules] == ["Some", "strategy 2 again"]
    assert replace(rules[0], name="") == replace(rules[1], name="")

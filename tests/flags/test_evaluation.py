"""How a flag is decided: each step, and each pair of steps that could be swapped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webapp.flags.bucketing import bucket_of
from webapp.flags.evaluation import CompiledFlag, Surroundings, compile_flag, state_of
from webapp.flags.values import EvaluationContext, FlagDefinition, FlagState, Reason, subject_id

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
FULL = FlagDefinition(name="f", enabled=True, percentage=100.0)

# Bucket of each in the rollout of "f"; the tests below check that they are what they say.
INSIDE, OUTSIDE = "user-3", "user-0"

ON, OFF = True, False

# (the flag, beside on at 100 % for everybody; subject; environment; answer; reason)
CASES: list[tuple[str, dict[str, Any], str | None, bool, Reason]] = [
    # Each step alone.
    ("switched off", {"enabled": False}, "u", OFF, Reason.DISABLED),
    ("not started", {"starts_at": LATER}, "u", OFF, Reason.NOT_STARTED),
    ("starts this moment", {"starts_at": NOW}, "u", ON, Reason.EVERYONE),
    ("expired", {"expires_at": EARLIER}, "u", OFF, Reason.EXPIRED),
    ("expires this moment", {"expires_at": NOW}, "u", OFF, Reason.EXPIRED),
    ("within its window", {"starts_at": EARLIER, "expires_at": LATER}, "u", ON, Reason.EVERYONE),
    ("blacklisted", {"blacklist": ("u",)}, "u", OFF, Reason.BLACKLIST),
    ("another is blacklisted", {"blacklist": ("v",)}, "u", ON, Reason.EVERYONE),
    (
        "forced on",
        {"percentage": 0.0, "environment_overrides": {"production": True}},
        "u",
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced off",
        {"environment_overrides": {"production": False}},
        "u",
        OFF,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced off elsewhere",
        {"environment_overrides": {"staging": False}},
        "u",
        ON,
        Reason.EVERYONE,
    ),
    ("another environment", {"environments": ("staging",)}, "u", OFF, Reason.ENVIRONMENT),
    ("its environment", {"environments": ("staging", "production")}, "u", ON, Reason.EVERYONE),
    ("whitelisted", {"percentage": 0.0, "whitelist": ("u",)}, "u", ON, Reason.WHITELIST),
    ("another is whitelisted", {"percentage": 0.0, "whitelist": ("v",)}, "u", OFF, Reason.NOBODY),
    ("at 100", {}, "u", ON, Reason.EVERYONE),
    ("at 100 without a subject", {}, None, ON, Reason.EVERYONE),
    ("at 0", {"percentage": 0.0}, "u", OFF, Reason.NOBODY),
    ("at 0 without a subject", {"percentage": 0.0}, None, OFF, Reason.NOBODY),
    ("inside the rollout", {"percentage": 50.0}, INSIDE, ON, Reason.PERCENTAGE),
    ("outside the rollout", {"percentage": 50.0}, OUTSIDE, OFF, Reason.PERCENTAGE),
    ("partial without a subject", {"percentage": 50.0}, None, OFF, Reason.NO_SUBJECT),
    ("partial with an empty subject", {"percentage": 50.0}, "", OFF, Reason.NO_SUBJECT),
    (
        "the environment's own percentage",
        {"percentage": 0.0, "environment_overrides": {"production": 50.0}},
        INSIDE,
        ON,
        Reason.PERCENTAGE,
    ),
    (
        "the environment's own 0",
        {"environment_overrides": {"production": 0.0}},
        "u",
        OFF,
        Reason.NOBODY,
    ),
    (
        "the environment's own 100",
        {"percentage": 0.0, "environment_overrides": {"production": 100}},
        "u",
        ON,
        Reason.EVERYONE,
    ),
    (
        "the bucket of another flag",
        {"percentage": 50.0, "stickiness": "g"},
        "u",
        ON,
        Reason.PERCENTAGE,
    ),
    # Each pair of neighbours, and pairs further apart that answer differently.
    ("off before not started", {"enabled": False, "starts_at": LATER}, "u", OFF, Reason.DISABLED),
    ("off before expired", {"enabled": False, "expires_at": EARLIER}, "u", OFF, Reason.DISABLED),
    ("off before blacklist", {"enabled": False, "blacklist": ("u",)}, "u", OFF, Reason.DISABLED),
    (
        "off before forced on",
        {"enabled": False, "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.DISABLED,
    ),
    ("off before whitelist", {"enabled": False, "whitelist": ("u",)}, "u", OFF, Reason.DISABLED),
    (
        "not started before expired",
        {"starts_at": LATER, "expires_at": EARLIER},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before blacklist",
        {"starts_at": LATER, "blacklist": ("u",)},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before forced on",
        {"starts_at": LATER, "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before environment",
        {"starts_at": LATER, "environments": ("staging",)},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before whitelist",
        {"starts_at": LATER, "whitelist": ("u",)},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "expired before blacklist",
        {"expires_at": EARLIER, "blacklist": ("u",)},
        "u",
        OFF,
        Reason.EXPIRED,
    ),
    (
        "expired before forced on",
        {"expires_at": EARLIER, "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.EXPIRED,
    ),
    (
        "expired before whitelist",
        {"expires_at": EARLIER, "whitelist": ("u",)},
        "u",
        OFF,
        Reason.EXPIRED,
    ),
    (
        "blacklist before forced on",
        {"blacklist": ("u",), "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.BLACKLIST,
    ),
    (
        "blacklist before environment",
        {"blacklist": ("u",), "environments": ("staging",)},
        "u",
        OFF,
        Reason.BLACKLIST,
    ),
    (
        "blacklist before whitelist",
        {"blacklist": ("u",), "whitelist": ("u",)},
        "u",
        OFF,
        Reason.BLACKLIST,
    ),
    (
        "forced on before environment",
        {"environments": ("staging",), "environment_overrides": {"production": True}},
        "u",
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced off before whitelist",
        {"whitelist": ("u",), "environment_overrides": {"production": False}},
        "u",
        OFF,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced on before whitelist",
        {"whitelist": ("u",), "environment_overrides": {"production": True}},
        "u",
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced on before a missing subject",
        {"percentage": 50.0, "environment_overrides": {"production": True}},
        None,
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "environment before whitelist",
        {"environments": ("staging",), "whitelist": ("u",)},
        "u",
        OFF,
        Reason.ENVIRONMENT,
    ),
    (
        "environment before its own percentage",
        {"environments": ("staging",), "environment_overrides": {"production": 100.0}},
        "u",
        OFF,
        Reason.ENVIRONMENT,
    ),
    ("whitelist before everyone", {"whitelist": ("u",)}, "u", ON, Reason.WHITELIST),
    (
        "whitelist before a percentage",
        {"percentage": 50.0, "whitelist": (OUTSIDE,)},
        OUTSIDE,
        ON,
        Reason.WHITELIST,
    ),
]


def compiled(flag: FlagDefinition) -> CompiledFlag:
    return compile_flag(flag, Surroundings("production"))


def asked(subject: str | None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(subject, "production", NOW, attributes)


@pytest.mark.parametrize(
    ("changes", "subject", "enabled", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_first_match_wins(
    changes: dict[str, Any], subject: str | None, enabled: bool, reason: Reason
) -> None:
    decision = compiled(replace(FULL, **changes)).ask(asked(subject))
    assert (decision.enabled, decision.reason) == (enabled, reason)
    assert decision.variant is None


def test_the_subjects_of_the_table_are_in_the_buckets_they_claim() -> None:
    assert bucket_of("f", INSIDE) < 5_000 <= bucket_of("f", OUTSIDE)
    assert bucket_of("g", "u") < 5_000 <= bucket_of("f", "u")


def test_flags_of_one_stickiness_put_a_subject_in_one_bucket() -> None:
    flags = [
        compiled(FlagDefinition(name=name, enabled=True, percentage=33.0, stickiness="shared"))
        for name in ("one", "other")
    ]
    for number in range(500):
        context = asked(f"user-{number}")
        assert len({flag.ask(context).enabled for flag in flags}) == 1


def test_deciding_allocates_no_answer() -> None:
    flag = compiled(replace(FULL, percentage=0.0))
    assert flag.ask(asked("u")) is flag.ask(asked("v"))


@pytest.mark.parametrize(
    ("changes", "archived", "state"),
    [
        ({}, False, FlagState.ON),
        ({}, True, FlagState.ARCHIVED),
        ({"enabled": False}, False, FlagState.KILLED),
        ({"enabled": False, "percentage": 0.0}, False, FlagState.OFF),
        ({"enabled": False, "percentage": 0.0, "whitelist": ("u",)}, False, FlagState.KILLED),
        ({"enabled": False, "starts_at": LATER}, False, FlagState.KILLED),
        ({"starts_at": LATER}, False, FlagState.NOT_STARTED),
        ({"expires_at": NOW}, False, FlagState.EXPIRED),
        ({"percentage": 0.0}, False, FlagState.OFF),
        ({"percentage": 0.0, "whitelist": ("u",)}, False, FlagState.PARTIAL),
        ({"percentage": 0.0, "environment_overrides": {"staging": True}}, False, FlagState.PARTIAL),
        ({"percentage": 25.0}, False, FlagState.PARTIAL),
        ({"environment_overrides": {"staging": False}}, False, FlagState.PARTIAL),
        ({"environment_overrides": {"staging": True}}, False, FlagState.ON),
        ({"blacklist": ("u",)}, False, FlagState.PARTIAL),
        ({"environments": ("staging",)}, False, FlagState.ON),
    ],
)
def test_state_sums_a_flag_up(changes: dict[str, Any], archived: bool, state: FlagState) -> None:
    assert state_of(replace(FULL, **changes), now=NOW, archived=archived) is state


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("", None), ("u", "u"), (0, "0"), (42, "42")]
)
def test_any_stable_id_is_a_subject(value: object, expected: str | None) -> None:
    assert subject_id(value) == expected

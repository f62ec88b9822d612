"""PostHog: local evaluation, with the flag's definition served once by a stub."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from posthog import Posthog

from loopback import serve
from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = ""


@contextmanager
def decider() -> Iterator[Decide]:
    """It would ask for definitions again after an hour, which no run lasts."""
    with serve(
        {"/flags/definitions": {"flags": [_flag()], "group_type_mapping": {}, "cohorts": {}}}
    ) as address:
        client = Posthog(
            "no-key",
            host=address,
            secret_key="no-key",  # noqa: S106  # the stub asks for none
            send=False,
            poll_interval=3600,
        )
        client.load_feature_flags()

        def decide(subject: str, attributes: Mapping[str, str]) -> bool:
            flags = client.evaluate_flags(
                subject,
                person_properties=attributes,
                only_evaluate_locally=True,
                flag_keys=[FLAG],
            )
            return bool(flags.is_enabled(FLAG, send_feature_flag_events=False))

        yield decide
        client.shutdown()


def _flag() -> dict[str, Any]:
    """One group of conditions that fits and covers the subject is enough."""
    fits = [_one_of("plan", RULE_PLANS), _one_of("country", RULE_COUNTRIES)]
    groups = [
        {"properties": [_one_of("distinct_id", WHITELIST)], "rollout_percentage": 100},
        {"properties": fits, "rollout_percentage": RULE_SHARE},
        {"properties": [], "rollout_percentage": SHARE},
    ]
    return {"id": 1, "key": FLAG, "active": True, "filters": {"groups": groups}}


def _one_of(name: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"key": name, "type": "person", "operator": "exact", "value": list(values)}

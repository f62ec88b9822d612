"""The question's flag in the words of Unleash, for its SDK and its proxy."""

from typing import Any, Final

from question import RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST

COUNT: Final = 20


def feature(name: str) -> dict[str, Any]:
    """One strategy that says on is enough; one group keeps a subject in one bucket."""
    fits = [_one_of("plan", RULE_PLANS), _one_of("country", RULE_COUNTRIES)]
    return {
        "name": name,
        "type": "release",
        "enabled": True,
        "strategies": [
            {"name": "userWithId", "parameters": {"userIds": ",".join(WHITELIST)}},
            _rollout(name, RULE_SHARE, fits),
            _rollout(name, SHARE, []),
        ],
    }


def feature_names() -> list[str]:
    """The names of the flags that a server holds."""
    return [f"bench.rollout-{number}" for number in range(COUNT)]


def _one_of(name: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"contextName": name, "operator": "IN", "values": list(values)}


def _rollout(group: str, share: int, constraints: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "flexibleRollout",
        "parameters": {"rollout": str(share), "stickiness": "userId", "groupId": group},
        "constraints": constraints,
    }

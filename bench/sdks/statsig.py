"""Statsig: the compiled server core, with the gate from a data store and the network off."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from statsig_python_core import (
    DataStore,
    DataStoreResponse,
    FeatureGateEvaluationOptions,
    Statsig,
    StatsigOptions,
    StatsigUser,
)

from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = ""
_WHEN: Final = 1_767_225_600_000
_SILENT: Final = FeatureGateEvaluationOptions(disable_exposure_logging=True)


class _Store(DataStore):  # type: ignore[misc]  # the SDK's classes come compiled
    """Holds the specifications, where a service would keep them for many processes."""

    def get(self, key: str) -> DataStoreResponse:  # noqa: ARG002  # there is one thing to get
        return DataStoreResponse(json.dumps(_specifications()), _WHEN)


@contextmanager
def decider() -> Iterator[Decide]:
    """Only ``disable_network`` also keeps it from telling its maker of errors of its own."""
    options = StatsigOptions(
        disable_network=True,
        disable_all_logging=True,
        disable_country_lookup=True,
        disable_disk_access=True,
        data_store=_Store(),
        output_log_level="none",
    )
    client = Statsig("secret-bench", options)
    client.initialize().wait()

    def decide(subject: str, attributes: Mapping[str, str]) -> bool:
        user = StatsigUser(subject, custom=attributes)
        return bool(client.check_gate(user, FLAG, _SILENT))

    yield decide
    client.shutdown().wait()


def _specifications() -> dict[str, Any]:
    """The first rule that fits decides, by its own pass percentage."""
    gate = {
        "type": "feature_gate",
        "salt": FLAG,
        "enabled": True,
        "defaultValue": False,
        "entity": "feature_gate",
        "idType": "userID",
        "rules": [
            _rule("listed", ["listed"], 100),
            _rule("rule", ["plan", "country"], RULE_SHARE),
            _rule("everybody", ["everybody"], SHARE),
        ],
    }
    return {
        "has_updates": True,
        "time": _WHEN,
        "feature_gates": {FLAG: gate},
        "dynamic_configs": {},
        "layer_configs": {},
        "experiment_to_layer": {},
        "condition_map": {
            "listed": _condition("unit_id", None, WHITELIST),
            "plan": _condition("user_field", "plan", RULE_PLANS),
            "country": _condition("user_field", "country", RULE_COUNTRIES),
            "everybody": _condition("public", None, ()),
        },
    }


def _rule(name: str, conditions: list[str], share: int) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "salt": name,
        "passPercentage": share,
        "conditions": conditions,
        "returnValue": True,
        "idType": "userID",
    }


def _condition(kind: str, field: str | None, values: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": kind,
        "field": field,
        "operator": "any" if values else None,
        "targetValue": list(values) or None,
        "additionalValues": {},
        "idType": "userID",
    }

"""Flagsmith: the client in offline mode, with the environment's document from a file."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from flagsmith import Flagsmith
from flagsmith.offline_handlers import LocalFileHandler

from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = (
    "the shares are those of a multivariate value, since a flag has no percentage of its own"
)
_ON, _OFF = "on", "off"


@contextmanager
def decider() -> Iterator[Decide]:
    """Offline there is no session to speak through, and analytics are off by default."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "environment.json")
        file.write_text(json.dumps(_environment()))
        client = Flagsmith(offline_mode=True, offline_handler=LocalFileHandler(str(file)))

    def decide(subject: str, attributes: Mapping[str, str]) -> bool:
        flags = client.get_identity_flags(subject, attributes)
        return bool(flags.get_feature_value(FLAG) == _ON)

    yield decide


def _environment() -> dict[str, Any]:
    """An identity's own value goes before a segment's, and that before the environment's."""
    segment = {
        "id": 1,
        "name": "rule",
        "rules": [
            {
                "type": "ALL",
                "conditions": [],
                "rules": [_any_of("plan", RULE_PLANS), _any_of("country", RULE_COUNTRIES)],
            }
        ],
        "feature_states": [_state(1, _OFF, RULE_SHARE) | {"feature_segment": {"priority": 0}}],
    }
    return {
        "api_key": "bench",
        "name": "bench",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "project": {"segments": [segment]},
        "feature_states": [_state(2, _OFF, SHARE)],
        "identity_overrides": [
            {"identifier": subject, "identity_features": [_state(3, _ON, 0)]}
            for subject in WHITELIST
        ],
    }


def _any_of(attribute: str, values: tuple[str, ...]) -> dict[str, Any]:
    condition = {"property_": attribute, "operator": "IN", "value": ",".join(values)}
    return {"type": "ANY", "conditions": [condition], "rules": []}


def _state(number: int, value: str, share: int) -> dict[str, Any]:
    """The feature with ``value``, and on for ``share`` percent."""
    option = {"multivariate_feature_option": {"value": _ON}, "percentage_allocation": share}
    return {
        "enabled": True,
        "feature": {"id": 1, "name": FLAG},
        "feature_state_value": value,
        "featurestate_uuid": str(number),
        "multivariate_feature_state_values": [option | {"id": 1}] if share else [],
    }

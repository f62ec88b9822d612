"""Flipt: the client with its compiled engine, and the namespace's snapshot served by a stub."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from flipt_client import FliptClient
from flipt_client.models import ClientOptions

from loopback import serve
from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = "a variant flag, since the rollouts of a boolean one cannot join a rule to a share"
_PATH: Final = "/internal/v1/evaluation/snapshot/namespace/default"
_ON, _OFF = "on", "off"
_WHEN: Final = {"createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"}


@contextmanager
def decider() -> Iterator[Decide]:
    """It would ask for the snapshot again after an hour, which no run lasts."""
    with serve({_PATH: {"namespace": {"key": "default"}, "flags": [_flag()]}}) as address:
        client = FliptClient(ClientOptions(url=address, update_interval=timedelta(hours=1)))

        def decide(subject: str, attributes: Mapping[str, str]) -> bool:
            return bool(client.evaluate_variant(FLAG, subject, attributes).variant_key == _ON)

        yield decide
        client.close()


def _flag() -> dict[str, Any]:
    """The first rule whose segment fits deals the variants out."""
    fits = [_one_of("plan", RULE_PLANS), _one_of("country", RULE_COUNTRIES)]
    return {
        "key": FLAG,
        "name": FLAG,
        "description": "",
        "enabled": True,
        "type": "VARIANT_FLAG_TYPE",
        "rollouts": [],
        "rules": [
            _rule(1, [_one_of("", WHITELIST, kind="ENTITY_ID")], 100),
            _rule(2, fits, RULE_SHARE),
            _rule(3, [], SHARE),
        ],
        **_WHEN,
    }


def _one_of(name: str, values: tuple[str, ...], *, kind: str = "STRING") -> dict[str, Any]:
    """A list of values is text that holds JSON."""
    return {
        "id": name,
        "type": f"{kind}_CONSTRAINT_COMPARISON_TYPE",
        "property": name,
        "operator": "isoneof",
        "value": json.dumps(values),
    }


def _rule(rank: int, constraints: list[dict[str, Any]], share: int) -> dict[str, Any]:
    segment = {
        "key": str(rank),
        "name": str(rank),
        "description": "",
        "matchType": "ALL_SEGMENT_MATCH_TYPE",
        "constraints": constraints,
        **_WHEN,
    }
    shares = {_ON: share, _OFF: 100 - share}
    return {
        "id": str(rank),
        "rank": rank,
        "segments": [segment],
        "segmentOperator": "OR_SEGMENT_OPERATOR",
        "distributions": [
            {
                "id": f"{rank}-{variant}",
                "ruleId": str(rank),
                "variantId": variant,
                "variantKey": variant,
                "variantAttachment": "",
                "rollout": rollout,
            }
            for variant, rollout in shares.items()
        ],
    }

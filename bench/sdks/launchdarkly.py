"""LaunchDarkly: a flag from a file, with the client's own evaluation and no events."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from ldclient.client import LDClient
from ldclient.config import Config
from ldclient.context import Context
from ldclient.integrations import Files

from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = ""
_ON, _OFF = 0, 1


@contextmanager
def decider() -> Iterator[Decide]:
    """The file takes the place of the stream of changes; without events there is no other talk."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "flags.json")
        file.write_text(json.dumps({"flags": {FLAG: _flag()}}))
        source = Files.new_data_source(paths=[str(file)])
        client = LDClient(
            Config("no-key", update_processor_class=source, send_events=False), start_wait=5
        )

        def decide(subject: str, attributes: Mapping[str, str]) -> bool:
            context = Context.builder(subject)
            for name, value in attributes.items():
                context.set(name, value)
            return bool(client.variation(FLAG, context.build(), default=False))

        yield decide
        client.close()


def _flag() -> dict[str, Any]:
    """The first rule that fits decides: targets, then the rule, then everybody else."""
    rule = {
        "id": "rule",
        "clauses": [_one_of("plan", RULE_PLANS), _one_of("country", RULE_COUNTRIES)],
        "rollout": _rollout(RULE_SHARE),
    }
    return {
        "key": FLAG,
        "version": 1,
        "on": True,
        "salt": FLAG,
        "variations": [True, False],
        "offVariation": _OFF,
        "targets": [{"variation": _ON, "values": list(WHITELIST)}],
        "rules": [rule],
        "fallthrough": {"rollout": _rollout(SHARE)},
    }


def _one_of(attribute: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"contextKind": "user", "attribute": attribute, "op": "in", "values": list(values)}


def _rollout(share: int) -> dict[str, Any]:
    """Weights are thousandths of a percent."""
    return {
        "contextKind": "user",
        "variations": [
            {"variation": _ON, "weight": share * 1000},
            {"variation": _OFF, "weight": (100 - share) * 1000},
        ],
    }

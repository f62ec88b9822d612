"""flagd through OpenFeature: the provider's in-process resolver on a file, without a daemon."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = ""


@contextmanager
def decider() -> Iterator[Decide]:
    """With a file as its source the provider opens no channel."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "flags.json")
        file.write_text(json.dumps({"flags": {FLAG: _flag()}}))
        provider = FlagdProvider(
            resolver_type=ResolverType.IN_PROCESS, offline_flag_source_path=str(file)
        )
        api.set_provider_and_wait(provider)
        client = api.get_client()

        def decide(subject: str, attributes: Mapping[str, str]) -> bool:
            context = EvaluationContext(subject, attributes)
            return bool(
                client.get_boolean_value(FLAG, default_value=False, evaluation_context=context)
            )

        yield decide
        api.shutdown()


def _flag() -> dict[str, Any]:
    fits = {
        "and": [
            {"in": [{"var": "plan"}, list(RULE_PLANS)]},
            {"in": [{"var": "country"}, list(RULE_COUNTRIES)]},
        ]
    }
    listed = {"in": [{"var": "targetingKey"}, list(WHITELIST)]}
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [listed, "on", fits, _rollout(RULE_SHARE), _rollout(SHARE)]},
    }


def _rollout(share: int) -> dict[str, Any]:
    """Without a key of its own, the bucket is that of the flag's key and the targeting key."""
    return {"fractional": [["on", share], ["off", 100 - share]]}

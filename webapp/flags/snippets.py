"""Code to copy: how a program asks for one flag, in Python, over HTTP and by SDKs.  Pure."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from webapp.flags.values import FlagDefinition

_SUBJECT: Final = "user-123"
_KINDS: Final[Mapping[type, tuple[str, str]]] = {
    bool: ("boolean", "False"),
    str: ("string", '""'),
    int: ("integer", "0"),
    float: ("float", "0.0"),
    dict: ("object", "{}"),
    list: ("object", "[]"),
}


def python_code(flag: FlagDefinition) -> str:
    """Return how a program in this process asks; what its rules look at is named."""
    name, attributes = json.dumps(flag.name), _attributes(flag)
    asked = f"{name}, user_id" + (", attributes=attributes" if attributes else "")
    evaluate = "evaluate, " if flag.variants else ""
    lines = [f"from webapp.flags import {evaluate}feature_flag, is_enabled", ""]
    if attributes:
        lines += [f"attributes = {json.dumps(attributes, ensure_ascii=False)}", ""]
    lines += [f"if is_enabled({asked}):", "    ...", ""]
    if flag.variants:
        lines += [f"decision = evaluate({asked})", "decision.variant, decision.value", ""]
    lines += [
        f'@feature_flag({name}, fallback=otherwise, subject="user_id")',
        "def feature(user_id): ...",
    ]
    return "\n".join(lines)


def curl_code(flag: FlagDefinition, url: str) -> str:
    """Return how a program asks the evaluate endpoint at ``url`` with a token."""
    attributes = _attributes(flag)
    body = {"user_id": _SUBJECT} | ({"attributes": attributes} if attributes else {})
    return " \\\n".join(
        (
            f"curl -X POST {shlex.quote(url)}",
            '  -H "Authorization: Bearer $TOKEN"',
            "  -H 'Content-Type: application/json'",
            f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}",
        )
    )


def openfeature_code(flag: FlagDefinition, url: str) -> str:
    """Return how an OpenFeature client asks the console at ``url``."""
    kind, default = _kind_of(flag)
    context = ", ".join(map(_python, filter(None, (_SUBJECT, _attributes(flag)))))
    return "\n".join(
        (
            "from openfeature.api import get_client, set_provider",
            "from openfeature.contrib.provider.ofrep import OFREPProvider",
            "from openfeature.evaluation_context import EvaluationContext",
            "",
            'headers = {"Authorization": f"Bearer {token}"}',
            f"set_provider(OFREPProvider({_python(url)}, headers_factory=lambda: headers))",
            "",
            f"context = EvaluationContext({context})",
            f"get_client().get_{kind}_value({_python(flag.name)}, {default}, context)",
        )
    )


def unleash_code(flag: FlagDefinition, url: str) -> str:
    """Return how an Unleash SDK has flags from the console at ``url``, and decides this one."""
    attributes = _attributes(flag)
    context = {"userId": _SUBJECT} | ({"properties": attributes} if attributes else {})
    asked = "get_variant" if flag.variants else "is_enabled"
    return "\n".join(
        (
            "from UnleashClient import UnleashClient",
            "",
            "client = UnleashClient(",
            f'    {_python(url + "/api")}, "my-app", custom_headers={{"Authorization": token}}',
            ")",
            "client.initialize_client()",
            "",
            f"context = {_python(context)}",
            f"client.{asked}({_python(flag.name)}, context)",
        )
    )


def _python(value: Any) -> str:
    """Write texts and objects of texts: in Python they are as in JSON."""
    return json.dumps(value, ensure_ascii=False)


def _kind_of(flag: FlagDefinition) -> tuple[str, str]:
    """Return how OpenFeature calls the kind of a flag's value, and a default of that kind."""
    values = [variant.value for variant in flag.variants if variant.value is not None]
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        kinds = {float}
    if len(kinds) > 1:
        return "object", "{}"
    return _KINDS[kinds.pop()] if kinds else _KINDS[bool]


def _attributes(flag: FlagDefinition) -> Mapping[str, Any]:
    """Return what the rules' own conditions look at, each with a value that one names."""
    return {
        item.attribute: item.values[0] for rule in reversed(flag.rules) for item in rule.conditions
    }

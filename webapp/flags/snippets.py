"""Code to copy: how a program asks for one flag, in Python and over HTTP.  Pure."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from webapp.flags.values import FlagDefinition

_SUBJECT: Final = "user-123"


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


def _attributes(flag: FlagDefinition) -> Mapping[str, Any]:
    """Return what the rules' own conditions look at, each with a value that one names."""
    return {
        item.attribute: item.values[0] for rule in reversed(flag.rules) for item in rule.conditions
    }

"""Code to copy: the request that makes a job like another one.  Pure.

It must not hold a secret: arguments come in masked, and the token is a variable of the shell.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any


def curl(url: str, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return a command for a POSIX shell; options that are None are left out."""
    body = {"arguments": arguments} | {
        name: value for name, value in options.items() if value is not None
    }
    lines = (
        f"curl -X POST {shlex.quote(url)}",
        '-H "Authorization: Bearer $TOKEN"',
        '-H "Content-Type: application/json"',
        f"-d {shlex.quote(json.dumps(body))}",
    )
    return " \\\n  ".join(lines)

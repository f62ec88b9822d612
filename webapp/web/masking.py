"""What a person may see of stored values: arguments, results and checkpoints, secrets masked."""

import json
from typing import Any

from flask import Flask

from webapp.logs import masked


def register_masking(app: Flask) -> None:
    """Let templates write ``value|pretty``, and ``text|masked``."""
    app.add_template_filter(pretty, "pretty")
    app.add_template_filter(masked, "masked")


def pretty(value: Any) -> str:
    """Return a value as indented JSON, with the secrets in it masked.

    Half a character, which JSON can hold and no answer can, is written as its number.
    """
    text = json.dumps(masked(value), indent=2, ensure_ascii=False, sort_keys=True)
    return text.encode("utf-8", "backslashreplace").decode()

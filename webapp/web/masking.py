"""What a person may see of stored values: arguments, results and checkpoints, secrets masked."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Flask

from webapp.logs import mask_secrets


def register_masking(app: Flask) -> None:
    """Let templates write ``value|pretty``."""
    app.add_template_filter(pretty, "pretty")


def pretty(value: Any) -> str:
    """Return a value as indented JSON, with the secrets in it masked."""
    return json.dumps(masked(value), indent=2, ensure_ascii=False, sort_keys=True)


def masked(value: Any) -> Any:
    """Return a copy of a JSON value in which whatever a name calls secret is masked."""
    if isinstance(value, Mapping):
        inner = {str(key): masked(item) for key, item in value.items()}
        return dict(mask_secrets(None, "", inner))
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value

"""Arguments whose secrets were masked when somebody was shown them, made whole again.

Whoever edits arguments sees a mask where a secret is, and sends it back where it was.  What equals
what was shown there stands for the secret; a mask anywhere else stands for nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from webapp.errors import Invalid
from webapp.logs import MASK, masked


def unmask(edited: Mapping[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    """Return edited arguments with the secrets of the original where their masks still stand."""
    whole: dict[str, Any] = _whole(dict(edited), original, masked(original), "")
    return whole


def _whole(edited: Any, original: Any, shown: Any, place: str) -> Any:
    if isinstance(edited, str) and MASK in edited:
        if edited != shown:
            raise Invalid.field(
                "arguments",
                f"{place.lstrip('.')} holds {MASK}: write the secret itself, "
                "or leave the value as it was.",
            )
        return original
    if isinstance(edited, dict):
        return {
            key: _whole(value, _at(original, key), _at(shown, key), f"{place}.{key}")
            for key, value in edited.items()
        }
    if isinstance(edited, list):
        pairs = zip(edited, _pairs(edited, original, shown), strict=False)
        return [
            _whole(value, before, mask, f"{place}.{index}")
            for index, (value, (before, mask)) in enumerate(pairs)
        ]
    return edited


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _pairs(edited: Sequence[Any], original: Any, shown: Any) -> Iterable[tuple[Any, Any]]:
    """Pair the items of a list that is as long as before with what stood in their places.

    Where one was added or taken away, nobody can say whose secret a mask was.
    """
    same = isinstance(original, list) and isinstance(shown, list) and len(edited) == len(original)
    return zip(original, shown, strict=True) if same else repeat((None, None))

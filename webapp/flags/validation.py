"""What a flag may hold: every rule that a draft breaks, by field, in words for whoever typed it.

Pure: it sees one draft and nothing else.  That a name is free is for the service to find out.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from webapp.flags.values import (
    MAX_DESCRIPTION,
    MAX_ENVIRONMENTS,
    MAX_ID,
    MAX_IDS,
    MAX_METADATA,
    MAX_METADATA_LEVELS,
    MAX_NAME,
    MAX_REASON,
    MAX_TAGS,
    MAX_WORD,
    FlagDraft,
)

_NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
# Control characters break lines and tables, half surrogates break databases and hashes.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_UNFIT_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

Complaints = dict[str, list[str]]


def complaints_about(draft: FlagDraft) -> Complaints:
    """Return the messages for each field that breaks a rule; empty where all is well."""
    found = {
        "name": _name(draft.name),
        "description": _text(draft.description, MAX_DESCRIPTION),
        "percentage": _percentage(draft.percentage),
        "whitelist": _ids(draft.whitelist),
        "blacklist": _ids(draft.blacklist) + _in_both(draft.whitelist, draft.blacklist),
        "environments": _words(draft.environments, MAX_ENVIRONMENTS),
        "environment_overrides": _overrides(draft.environment_overrides),
        "starts_at": _moment(draft.starts_at),
        "expires_at": _moment(draft.expires_at) or _window(draft),
        "stickiness": _text(draft.stickiness, MAX_ID),
        "tags": _words(draft.tags, MAX_TAGS),
        "metadata": _metadata(draft.metadata),
    }
    return {field: messages for field, messages in found.items() if messages}


def complaints_about_reason(reason: str) -> list[str]:
    """Return what is wrong with the reason of a change."""
    if not reason.strip():
        return ["Say why, for whoever reads the audit."]
    return _text(reason, MAX_REASON)


def _name(name: str) -> list[str]:
    if len(name) > MAX_NAME:
        return [f"At most {MAX_NAME} characters."]
    if not _NAME.fullmatch(name):
        return ["Lower-case words joined by '.', '_' or '-', such as ui.dashboard.new_layout."]
    return []


def _text(text: str, most: int) -> list[str]:
    if len(text) > most:
        return [f"At most {most:,} characters, not {len(text):,}."]
    return ["Holds characters that cannot be shown."] if _UNFIT_TEXT.search(text) else []


def _percentage(value: float) -> list[str]:
    # Written so that "not a number", which compares as false, is refused too.
    if not 0 <= value <= 100:  # noqa: PLR2004  # of a hundred
        return ["Must be from 0 to 100."]
    if round(value, 2) != value:
        return ["At most two decimals."]
    return []


def _ids(ids: tuple[str, ...]) -> list[str]:
    if len(ids) > MAX_IDS:
        return [f"At most {MAX_IDS:,} ids, not {len(ids):,}."]
    if any(not 0 < len(item) <= MAX_ID or item != item.strip() for item in ids):
        return [f"Each id has 1 to {MAX_ID} characters and no space around it."]
    if any(map(_UNFIT.search, ids)):
        return ["An id holds characters that cannot be shown."]
    return _repeated(ids)


def _in_both(whitelist: tuple[str, ...], blacklist: tuple[str, ...]) -> list[str]:
    both = sorted(set(whitelist) & set(blacklist))
    return [f"On the whitelist too: {_some(both)}."] if both else []


def _words(words: tuple[str, ...], most: int) -> list[str]:
    if len(words) > most:
        return [f"At most {most}, not {len(words):,}."]
    wrong = [word for word in words if not _is_word(word)]
    if wrong:
        return [f"Lower-case words of at most {MAX_WORD} characters, unlike {_some(wrong)}."]
    return _repeated(words)


def _is_word(word: str) -> bool:
    return len(word) <= MAX_WORD and _NAME.fullmatch(word) is not None


def _overrides(overrides: Mapping[str, bool | float]) -> list[str]:
    messages = _words(tuple(overrides), MAX_ENVIRONMENTS)
    for environment, value in overrides.items():
        wrong = [] if isinstance(value, bool) else _percentage(value)
        messages += [f"{environment}: {message}" for message in wrong]
    return messages


def _moment(when: datetime | None) -> list[str]:
    """Refuse a time that its zone carries out of the calendar: UTC is what is kept of it."""
    if when is not None:
        try:
            when.astimezone(UTC)
        except OverflowError:
            return ["Lies outside the years 1 to 9999 in UTC."]
    return []


def _window(draft: FlagDraft) -> list[str]:
    if draft.starts_at and draft.expires_at and draft.expires_at <= draft.starts_at:
        return ["Must be later than the start."]
    return []


def _metadata(metadata: Mapping[str, Any]) -> list[str]:
    # Before anything walks down into it: whatever writes JSON has a depth at which it fails.
    if _has_more_levels(metadata, MAX_METADATA_LEVELS):
        return [f"At most {MAX_METADATA_LEVELS} levels deep."]
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError):
        return ["Must be a JSON object."]
    # JSON writes the null character as an escape; PostgreSQL stores it in no form.
    if "\\u0000" in text or _UNFIT_TEXT.search(text):
        return ["Holds characters that cannot be shown."]
    if len(text) > MAX_METADATA:
        return [f"At most {MAX_METADATA:,} characters."]
    return _unwritable(metadata)


def _has_more_levels(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    inside = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_has_more_levels(item, levels - 1) for item in inside)


def _unwritable(metadata: Mapping[str, Any]) -> list[str]:
    """Say where the API could not write it back: one such flag would break every list of flags."""
    try:
        orjson.dumps(dict(metadata))
    except TypeError:
        return ["Holds a whole number of more than 64 bits."]
    return []


def _repeated(items: tuple[str, ...]) -> list[str]:
    twice = sorted(item for item, times in Counter(items).items() if times > 1)
    return [f"Given twice: {_some(twice)}."] if twice else []


def _some(items: Iterable[str]) -> str:
    """Name the first few of many."""
    named = list(items)
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")  # noqa: PLR2004

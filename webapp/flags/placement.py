"""Where in a form a message stands: at the row that it names or counts, else above all.  Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from webapp.errors import FieldErrors
from webapp.flags.rule_forms import Messages, RuleRow, VariantRow

# The rows of each field that has some which go by a name.
Rows = Mapping[str, Sequence[RuleRow | VariantRow]]

_NUMBERED: Final = re.compile(r"(?:Rule|Variant) ([0-9]+) (.+)", re.DOTALL)


def placed(errors: FieldErrors, rows: Rows) -> FieldErrors:
    """Move what is said of a row that is named, or counted, to it; the rest stays above all."""
    found: Messages = {name: list(messages) for name, messages in errors.items()}
    for name, typed in rows.items():
        for message in found.pop(name, []):
            at, words = _place(message, typed)
            found.setdefault(name if at is None else f"{name}-{at}", []).append(words)
    return found


def _place(message: str, rows: Sequence[RuleRow | VariantRow]) -> tuple[int | None, str]:
    filled = [at for at, row in enumerate(rows) if not row.is_blank]
    for at in filled:
        name = rows[at].name.strip()
        if name and message.startswith(f"{name}: "):
            return at, message.removeprefix(f"{name}: ")
    match = _NUMBERED.fullmatch(message)
    if match and int(match[1]) <= len(filled):
        return filled[int(match[1]) - 1], f"It {match[2]}"
    return None, message

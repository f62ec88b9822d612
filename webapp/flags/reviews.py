"""What a form would change, shown before it is saved.  Pure.

Nothing is kept between the two steps: the form is sent again, with the mark of what was looked at.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webapp.audit.values import Change, FieldChange
from webapp.flags.wording import told_changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Changes as they are told, and their mark: saving needs the mark of what would be saved."""

    changes: Sequence[FieldChange]
    mark: str


def mark_of(changes: Mapping[str, Change]) -> str:
    """Return what stands for exactly these changes."""
    told = {field: [change.old, change.new] for field, change in changes.items()}
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def review_of(changes: Mapping[str, Change]) -> Review:
    """Return changes as they are shown before they are made."""
    told = [FieldChange(field, change.old, change.new) for field, change in changes.items()]
    return Review(changes=told_changes(told), mark=mark_of(changes))

"""What the reason of a change has to be: there, short enough to be read, and such as can be shown.

Every service asks here before it writes a reason into the audit.  Pure.
"""

import re
from typing import Final

from webapp.errors import Invalid

MAX_REASON: Final = 500
MISSING: Final = "Say why, for whoever reads the audit."
#: What no text for people may hold: half characters, and control characters but tabs and line ends.
UNFIT_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def complaint_about_reason(reason: str, *, missing: str | None = MISSING) -> str | None:
    """Return what is wrong with a reason, None where nothing is.

    ``missing`` is what to say where there is none; None lets it be left out.
    """
    reason = reason.strip()
    if not reason:
        return missing
    if len(reason) > MAX_REASON:
        return f"Use at most {MAX_REASON} characters, not {len(reason):,}."
    return "Holds characters that cannot be shown." if UNFIT_TEXT.search(reason) else None


def checked_reason(reason: str, *, field: str = "reason", missing: str | None = MISSING) -> str:
    """Return a reason without the space around it; :class:`Invalid` names its field."""
    if complaint := complaint_about_reason(reason, missing=missing):
        raise Invalid.field(field, complaint)
    return reason.strip()

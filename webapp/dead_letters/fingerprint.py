"""Which dead letters are the same trouble.  Pure.

Same type of job, same exception, raised at the same place of our own code, with the same message
once everything that differs from case to case is taken out of it.
"""

import hashlib
import re

from webapp.tracebacks import is_foreign

_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line \d+, in (?P<function>.+)$', re.MULTILINE)
# From the most to the least specific: a quoted text may hold numbers, an id is made of them.
_VARYING = (
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "<text>"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def fingerprint(job_type: str, exception_type: str, message: str, traceback: str) -> str:
    """Return 16 hexadecimal digits that equal troubles share."""
    parts = (job_type, exception_type, own_place(traceback), generalize(message))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def generalize(message: str) -> str:
    """Take numbers, ids and quoted texts out of a message."""
    for pattern, word in _VARYING:
        message = pattern.sub(word, message)
    return message.strip()


def own_place(traceback: str) -> str:
    """Return file and function of the innermost frame that is no library's, without its line.

    The line is left out, so that an edit elsewhere in the file does not part what belongs together.
    """
    frames = [
        f"{match['file']}:{match['function']}"
        for match in _FRAME.finditer(traceback)
        if not is_foreign(match["file"])
    ]
    return frames[-1] if frames else ""

"""Whose frame of a traceback is whose.  Pure: decides by the path of a file alone."""

from typing import Final

#: A file under one of these is a library's, or no file at all, and not the program's own.
_FOREIGN: Final = ("site-packages", "dist-packages", "/lib/python", "<frozen", "<string>")


def is_foreign(path: str) -> bool:
    """Tell whether the file of a frame belongs to somebody else's code."""
    return any(mark in path for mark in _FOREIGN)

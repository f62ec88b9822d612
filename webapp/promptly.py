"""Work that must neither wait for anybody nor take long: everybody waits for a server's loop.

The loop says so with :func:`promptly`.  Whoever is about to ask a database, to wait for a lock that
is held meanwhile, or to work for milliseconds, calls :func:`takes_time` before.  Within the loop
that ends the attempt; a thread then begins anew, and there the call does nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: Under this name in an application: how the requests begin that it may answer promptly.
BEGINNINGS: Final = "prompt_beginnings"

_promptly: Final[ContextVar[bool]] = ContextVar("promptly", default=False)


class TakesTime(Exception):
    """What was begun is for a thread to do."""


@contextmanager
def promptly() -> Iterator[None]:
    """Allow the body nothing that takes time: :class:`TakesTime` where it would."""
    token = _promptly.set(True)
    try:
        yield
    finally:
        _promptly.reset(token)


def takes_time() -> None:
    """Say that what follows takes time; :class:`TakesTime` where there is none."""
    if _promptly.get():
        raise TakesTime

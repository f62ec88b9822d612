"""The vocabulary of requests: what they may take, and what goes wrong beside the answer."""

from dataclasses import dataclass
from typing import BinaryIO

from webapp.errors import Invalid

DEFAULT_SECONDS = 30.0
DEFAULT_MAX_BYTES = 10 * 1024 * 1024
MAX_REDIRECTS = 5


class AddressRefused(Invalid):
    """The address may not be called: it is not that of a public machine."""


class TimeLimitExceeded(TimeoutError):
    """A call took longer than it may."""


class AnswerTooLarge(Exception):
    """The other side sent more than was to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may take, and where it may go.

    ``seconds`` bound the whole, from the resolution of the name to the last byte, over all
    redirects.  ``max_bytes`` is that of the decoded body.  ``trusted`` says that the address is the
    program's own, so that it may be any; where a redirect leads is judged all the same.  ``cut``
    takes the beginning of a body that is larger, instead of refusing it.  ``into`` is a file that
    the body is written to, from its start, in place of memory.
    """

    seconds: float = DEFAULT_SECONDS
    max_bytes: int = DEFAULT_MAX_BYTES
    redirects: int = MAX_REDIRECTS
    trusted: bool = False
    cut: bool = False
    into: BinaryIO | None = None

"""The port behind the token book: whom a process asks what a token is worth.

Three stand behind it: the database, what was published of it in Redis, and another Switchyard.
Nothing here knows any of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from webapp.accounts.values import TokenGrant
from webapp.errors import Unavailable

_AWAY = "Tokens cannot be looked up here just now; try again in a moment."


class SourceAway(Unavailable):
    """The source did not answer; its cause says why."""

    def __init__(self) -> None:
        super().__init__(_AWAY)


def reason_of(error: Exception) -> str:
    """Say for the log why there was no answer.

    Not as a traceback: some ways to write one show the variables of each frame, tokens among them.
    """
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"


@dataclass(frozen=True, slots=True)
class TokenUse:
    """The last time that a token was shown; ``key`` is its hash."""

    key: str
    at: datetime


class TokenSource(Protocol):
    """What knows tokens.  Every call raises :class:`SourceAway` where it gets no answer in time.

    ``refresh_seconds`` lie between two looks at the tokens in use.
    """

    refresh_seconds: float

    def find(self, text: str, *, now: datetime) -> TokenGrant | None:
        """Return what a token is worth, or None where it is unknown or revoked."""

    def refresh(self, keys: Sequence[str], *, now: datetime) -> Mapping[str, TokenGrant | None]:
        """Return what tokens are worth by now, by their hashes.

        None is a token that is worth nothing; one that is left out was not asked for.
        """

    def note_uses(self, uses: Sequence[TokenUse]) -> None:
        """Write when tokens were last used, where this source is the one that keeps it."""

    def begin_process(self) -> None:
        """Make ready for use in a forked child: connections belong to the parent."""

    def close(self) -> None:
        """Let connections go; the next call makes new ones."""

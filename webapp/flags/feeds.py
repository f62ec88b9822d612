"""Where a process has its flags from: the database."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy.orm import Session

from webapp.flags.queries import read_revision
from webapp.flags.relations import load_definitions
from webapp.flags.values import FlagSet

OpenSession = Callable[[], AbstractContextManager[Session]]


class Feed(Protocol):
    """Where flags come from."""

    def fetch(self, known: int | None) -> FlagSet | None:
        """Return all flags, None where their revision is still ``known``.

        Whatever it raises means that the flags could not be had just now.
        """


class DatabaseFeed:
    """The flags as they are stored."""

    def __init__(self, open_session: OpenSession) -> None:
        self._open_session = open_session

    def fetch(self, known: int | None) -> FlagSet | None:
        """Read the revision, and the flags where it has changed."""
        with self._open_session() as session:
            # The revision first: a change between the two reads is then loaded twice, never missed.
            revision = read_revision(session)
            if revision == known:
                return None
            found = load_definitions(session)
        return FlagSet(revision, {flag.name: flag for flag in found.flags}, found.segments)

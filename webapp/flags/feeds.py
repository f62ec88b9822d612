"""Where a process has its flags from: the database, what was published in Redis, or a console.

The last two are for processes that have no database, the evaluation edge among them.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Final, Protocol

import httpx
import orjson
from sqlalchemy.orm import Session

from webapp.errors import Unavailable
from webapp.flags.documents import flag_set_from
from webapp.flags.queries import read_revision
from webapp.flags.relations import load_definitions
from webapp.flags.signals import RedisSignals
from webapp.flags.values import NEVER, FlagSet

OpenSession = Callable[[], AbstractContextManager[Session]]

SNAPSHOT_PATH: Final = "/api/v1/feature-flags/snapshot"
# Flags by the thousand are some megabytes; a poll that hangs is given up.
HTTP_TIMEOUT: Final = httpx.Timeout(5.0, connect=1.0)


class Feed(Protocol):
    """Where flags come from."""

    def fetch(self, known: int) -> FlagSet | None:
        """Return all flags, None where their revision is still ``known``.

        Whatever it raises means that the flags could not be had just now.
        """


class DatabaseFeed:
    """The flags as they are stored."""

    def __init__(self, open_session: OpenSession) -> None:
        self._open_session = open_session

    def fetch(self, known: int) -> FlagSet | None:
        """Read the revision, and the flags where it has changed."""
        with self._open_session() as session:
            # The revision first: a change between the two reads is then loaded twice, never missed.
            revision = read_revision(session)
            if revision == known:
                return None
            found = load_definitions(session)
        return FlagSet(revision, {flag.name: flag for flag in found.flags}, found.segments)


class RedisFeed:
    """The flags as a process with a database published them."""

    def __init__(self, signals: RedisSignals) -> None:
        self._signals = signals

    def fetch(self, known: int) -> FlagSet | None:
        """Read the revision, and the flags where it has changed."""
        revision = self._signals.published_revision()
        if revision is None:
            raise Unavailable("Redis does not answer.")
        if revision == known and known != NEVER:
            return None
        found = self._signals.published()
        if found is None:
            raise Unavailable("Redis holds no flags yet.")
        return found


class HttpFeed:
    """The flags as a console at ``base_url`` hands them out to whoever shows this token."""

    def __init__(self, base_url: str, token: str) -> None:
        self._url = base_url.rstrip("/") + SNAPSHOT_PATH
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client: httpx.Client | None = None
        self._process = 0
        self._etag = ""

    def fetch(self, known: int) -> FlagSet | None:
        """Ask for the flags, unless they are those that were had before."""
        conditional = {"If-None-Match": self._etag} if known != NEVER and self._etag else {}
        answer = self._connected().get(self._url, headers=self._headers | conditional)
        if answer.status_code == HTTPStatus.NOT_MODIFIED:
            return None
        # A redirect is no answer either: whom it leads to was not meant to see the token.
        answer.raise_for_status()
        found = flag_set_from(orjson.loads(answer.content))
        self._etag = answer.headers.get("ETag", "")
        return found

    def _connected(self) -> httpx.Client:
        # A fork must not share its parent's connections.
        if self._client is None or self._process != os.getpid():
            self._client = httpx.Client(timeout=HTTP_TIMEOUT, follow_redirects=False)
            self._process = os.getpid()
        return self._client

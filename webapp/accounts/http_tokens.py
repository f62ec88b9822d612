"""Tokens as another Switchyard knows them: each is shown to it, and it says what that is worth.

For processes that have neither its database nor its Redis.  Asking anew needs the token itself,
so the texts of good tokens are kept for as long as those are in use, and no longer.
"""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

import httpx
from pydantic import TypeAdapter, ValidationError

from webapp.accounts.policy import token_hash
from webapp.accounts.token_sources import SourceAway, TokenUse
from webapp.accounts.values import TokenGrant

PATH: Final = "/api/v1/token"
TIMEOUT: Final = httpx.Timeout(2.0, connect=1.0)
# A round asks one by one, and leaves those for the next that it does not come to in this time.
ROUND_SECONDS: Final = 2.0
KEPT_FOR: Final = timedelta(minutes=1)

# What can be a bearer token at all (RFC 6750, 2.1); nothing else may get into a header.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,512}=*")
_GRANT = TypeAdapter(TokenGrant)


class HttpTokens:
    """The source of processes that are told by an upstream instance, at ``base_url``."""

    refresh_seconds = 2.0

    def __init__(self, base_url: str) -> None:
        self._url = httpx.URL(base_url.rstrip("/") + PATH)
        self._client: httpx.Client | None = None
        # By hash: the token, and when it was last found in a request.
        self._texts: dict[str, tuple[str, datetime]] = {}

    def begin_process(self) -> None:
        """Drop the connections in a forked child: they belong to the parent."""
        self._client = None

    def close(self) -> None:
        """Let the connections go, and forget the tokens."""
        if self._client is not None:
            self._client.close()
        self._client = None
        self._texts = {}

    def find(self, text: str, *, now: datetime) -> TokenGrant | None:
        """Return what the upstream says of a token."""
        if not _BEARER.fullmatch(text):
            return None
        grant = self._ask(text)
        if grant is not None:
            self._texts[token_hash(text)] = (text, now)
        return grant

    def refresh(self, keys: Sequence[str], *, now: datetime) -> Mapping[str, TokenGrant | None]:
        """Return what the upstream says of tokens by now, of as many as there is time for."""
        self._forget_unused(keys, now)
        ends = time.monotonic() + ROUND_SECONDS
        answers: dict[str, TokenGrant | None] = {}
        for key in keys:
            if time.monotonic() > ends:
                break
            if kept := self._texts.get(key):
                answers[key] = self._ask(kept[0])
        return answers

    def note_uses(self, uses: Sequence[TokenUse]) -> None:
        """Leave it to the upstream, to which each use of the last minute was shown."""

    def _ask(self, text: str) -> TokenGrant | None:
        try:
            answer = self._connected().get(self._url, headers={"Authorization": f"Bearer {text}"})
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                return None
            # A redirect is no answer either: whom it leads to was not meant to see the token.
            answer.raise_for_status()
            return _GRANT.validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise SourceAway from error

    def _forget_unused(self, keys: Sequence[str], now: datetime) -> None:
        in_use = set(keys)
        for key, (_, found_at) in list(self._texts.items()):
            if key not in in_use and now - found_at >= KEPT_FOR:
                self._texts.pop(key, None)

    def _connected(self) -> httpx.Client:
        # Of two threads that come first at once, one pool is kept and the other is collected.
        if self._client is None:
            self._client = httpx.Client(
                transport=httpx.HTTPTransport(retries=0), timeout=TIMEOUT, follow_redirects=False
            )
        return self._client

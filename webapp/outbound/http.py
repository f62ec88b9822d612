"""One HTTP request to another machine, within its time and size, and its whole answer.

The one way to send: guarded calls come here with :func:`exchange` or its twin for coroutines, and
messages to an address that somebody else has named with :func:`send`.  Where a request may go is
decided in ``webapp.outbound.connections``, for its first address and for each redirect.  Nothing is
repeated here, proxies of the environment are not used, since they would resolve names anew, and
every status but 2xx is an error, and 304 where nobody asked whether something has changed.
"""

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from webapp.outbound.addresses import check_url
from webapp.outbound.clients import MAX_BYTES, allowed_hosts, async_client, client
from webapp.outbound.deadlines import until
from webapp.outbound.values import AnswerTooLarge, Bounds, TimeLimitExceeded

#: Of the answer to a message no more is kept.
MAX_ANSWER_BYTES = 65_536
# Who we are has been said to the first address; another one need not know.
_NOBODY: dict[str, Any] = {"auth": None}
# What a redirect takes along to another origin.
_FOR_ANYBODY = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)
_CONDITIONS = ("If-None-Match", "If-Modified-Since")


def exchange(method: str, url: str, bounds: Bounds, **options: Any) -> httpx.Response:
    """Make one request and return its successful answer; ``options`` are those of httpx.

    ``httpx.HTTPStatusError`` for every status but 2xx, ``TimeLimitExceeded``, ``AnswerTooLarge``,
    ``AddressRefused``, and what httpx raises where no answer comes.
    """
    auth, journey = _set_out(method, url, bounds, options)
    try:
        with until(journey.ends):
            while True:
                to = client(trusted=journey.trusted)
                response = to.send(journey.request, stream=True, **auth)
                try:
                    if not journey.goes_on(response):
                        body = journey.body(response)
                        for chunk in response.iter_bytes():
                            if body.take(chunk):
                                break
                        return journey.end(response, body)
                finally:
                    response.close()
                auth = _NOBODY
    except httpx.TimeoutException as error:
        raise _over(bounds) from error


async def exchange_async(method: str, url: str, bounds: Bounds, **options: Any) -> httpx.Response:
    """Make one request as :func:`exchange` does, without holding the event loop."""
    auth, journey = _set_out(method, url, bounds, options)
    limit = asyncio.timeout(bounds.seconds)
    try:
        async with limit:
            while True:
                to = await async_client(trusted=journey.trusted)
                response = await to.send(journey.request, stream=True, **auth)
                try:
                    if not journey.goes_on(response):
                        body = journey.body(response)
                        async for chunk in response.aiter_bytes():
                            if body.take(chunk):
                                break
                        return journey.end(response, body)
                finally:
                    await response.aclose()
                auth = _NOBODY
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise _over(bounds) from error
    except httpx.TimeoutException as error:
        raise _over(bounds) from error


def send(
    method: str,
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
) -> httpx.Response:
    """Send a message to an address that somebody else has named; the status is what matters.

    ``httpx.HTTPStatusError`` for every status but 2xx, redirects among them: a message is signed
    for one receiver.  Of the answer's body the first 64 KiB are kept, as they came.
    """
    check_url(url, field="url", allowed=allowed_hosts())
    bounds = Bounds(seconds=seconds, max_bytes=MAX_ANSWER_BYTES, redirects=0, cut=True)
    request = client(trusted=False).build_request(
        method, url, headers={"Accept-Encoding": "identity", **(headers or {})}, content=content
    )
    journey = _Journey(bounds, request)
    try:
        with until(journey.ends):
            response = client(trusted=False).send(request, stream=True)
            try:
                body = _Body(bounds)
                for chunk in response.iter_raw():
                    if body.take(chunk):
                        break
                return journey.end(response, body)
            finally:
                response.close()
    except httpx.TimeoutException as error:
        raise _over(bounds) from error


def check_callback_url(url: str) -> None:
    """Refuse an address that no callback may go to; ``Invalid`` names ``callback_url``."""
    check_url(url, field="callback_url", allowed=allowed_hosts())


class _Body:
    """What was read of an answer's body, in memory or in a file."""

    def __init__(self, bounds: Bounds) -> None:
        self._most = bounds.max_bytes
        self._cut = bounds.cut
        self._file = bounds.into
        self._size = 0
        self.taken = bytearray()
        if self._file is not None:
            # What an attempt before this one has left there is no part of the answer.
            self._file.seek(0)
            self._file.truncate()

    def take(self, chunk: bytes) -> bool:
        """Add what was read; tells whether that is all that is wanted."""
        if self._size + len(chunk) > self._most and not self._cut:
            raise AnswerTooLarge(f"the answer is larger than {self._most:,} bytes")
        kept = chunk[: self._most - self._size]
        self._size += len(kept)
        if self._file is None:
            self.taken += kept
        else:
            self._file.write(kept)
        return self._cut and self._size == self._most


class _Journey:
    """A request on its way over redirects to the answer that ends it."""

    def __init__(self, bounds: Bounds, request: httpx.Request) -> None:
        # Of a body that is cut the rest is not read at all.
        self._most_sent = None if bounds.cut else bounds.max_bytes
        self.ends = time.monotonic() + bounds.seconds
        self._bounds = bounds
        self._first = _origin(request.url)
        self._history: list[httpx.Response] = []
        self._begin(request)

    def _begin(self, request: httpx.Request) -> None:
        left = max(self.ends - time.monotonic(), 0.001)
        request.extensions = {
            **request.extensions,
            "timeout": httpx.Timeout(left).as_dict(),
            MAX_BYTES: self._most_sent,
        }
        self.request = request

    @property
    def trusted(self) -> bool:
        """Tell whether the request may go to any address: only where the caller sent it."""
        return self._bounds.trusted and _origin(self.request.url) == self._first

    def goes_on(self, response: httpx.Response) -> bool:
        """Follow an answer that leads elsewhere; tells whether it does."""
        if response.next_request is None or not self._bounds.redirects:
            return False
        if len(self._history) == self._bounds.redirects:
            raise httpx.TooManyRedirects(
                f"more than {self._bounds.redirects} redirects", request=self.request
            )
        self._history.append(response)
        self._begin(response.next_request)
        if _origin(self.request.url) != _origin(response.url):
            # httpx takes away Authorization; a key of somebody's own may stand in any header.
            kept = [item for item in self.request.headers.multi_items() if item[0] in _FOR_ANYBODY]
            self.request.headers = httpx.Headers(kept)
        return True

    def body(self, response: httpx.Response) -> _Body:
        """Return where the body goes; refuses one that says beforehand that it is too large."""
        size = response.headers.get("Content-Length", "")
        most = self._bounds.max_bytes
        told = size.isdecimal() and self.request.method != "HEAD" and not self._bounds.cut
        if told and int(size) > most:
            raise AnswerTooLarge(f"the answer of {int(size):,} bytes is larger than {most:,}")
        return _Body(self._bounds)

    def end(self, response: httpx.Response, body: _Body) -> httpx.Response:
        """Return the whole answer if it is a success, else raise its status.

        That nothing has changed is a success too, where the request asked.
        """
        headers = httpx.Headers(response.headers)
        # The body is decoded, or as it came and cut short: these no longer say what it is.
        headers.pop("Content-Encoding", None)
        if self.request.method != "HEAD":
            headers.pop("Content-Length", None)
        whole = httpx.Response(
            response.status_code,
            headers=headers,
            content=bytes(body.taken),
            request=response.request,
            history=self._history,
        )
        asked = any(name in whole.request.headers for name in _CONDITIONS)
        unchanged = asked and whole.status_code == HTTPStatus.NOT_MODIFIED
        if not whole.is_success and not unchanged:
            # An error's text is kept and shown: it tells the host, not what a path may hide.
            raise httpx.HTTPStatusError(
                f"{whole.status_code} {whole.reason_phrase} from {whole.url.host}",
                request=whole.request,
                response=whole,
            )
        return whole


def _set_out(
    method: str, url: str, bounds: Bounds, options: dict[str, Any]
) -> tuple[dict[str, Any], _Journey]:
    if "timeout" in options or "follow_redirects" in options:
        raise TypeError("Time and redirects are bounded by the guard.")
    auth = {"auth": options.pop("auth")} if "auth" in options else {}
    request = client(trusted=bounds.trusted).build_request(method, url, **options)
    return auth, _Journey(bounds, request)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _over(bounds: Bounds) -> TimeLimitExceeded:
    return TimeLimitExceeded(f"the request took longer than {bounds.seconds:g} s")

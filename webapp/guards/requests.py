"""Requests under a guard, plain and awaited: which are safe to repeat, and within which bounds.

The plain verbs are httpx's; their twins for coroutines begin with ``a``, as Django's do.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import httpx

from webapp.outbound.http import exchange, exchange_async
from webapp.outbound.values import DEFAULT_MAX_BYTES, DEFAULT_SECONDS, Bounds

# Repeating these changes nothing that the first of them has not changed (RFC 9110, 9.2.2).
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


def may_repeat(method: str, headers: object) -> bool:
    """Tell whether a request is safe to repeat: by its method, or by an idempotency key."""
    if method.upper() in REPEATABLE_METHODS:
        return True
    return bool(headers) and "Idempotency-Key" in httpx.Headers(headers)  # type: ignore[arg-type]


class Requests:
    """The verbs of a guard; ``options`` are those of httpx (headers, params, json, auth)."""

    __slots__ = ()

    timeout: float | None

    def get(self, url: str, **options: Any) -> httpx.Response:
        """Get an address."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        """Post to an address; repeated only with an ``Idempotency-Key`` header or ``repeat``."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> httpx.Response:
        """Put something at an address."""
        return self.request("PUT", url, **options)

    def delete(self, url: str, **options: Any) -> httpx.Response:
        """Delete what is at an address."""
        return self.request("DELETE", url, **options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Make a request and return its successful answer.

        A method that is not safe to repeat is repeated only where an idempotency key goes with it,
        or where the caller says with ``repeat=True`` that it may be: its answer may be what was
        lost.  ``trusted=True`` says that the address is the program's own and may be any;
        ``max_bytes`` is the size of an answer that is still taken, ``cut=True`` takes the beginning
        of one that is larger, and ``into`` is a file that the body is written to.  An answer of 304
        is returned where the request asked whether something has changed.
        """
        repeat, bounds = self._terms(method, options)
        answer = self._run(exchange, (method, url, bounds), options, repeat=repeat)
        return cast("httpx.Response", answer)

    async def aget(self, url: str, **options: Any) -> httpx.Response:
        """Get an address."""
        return await self.arequest("GET", url, **options)

    async def apost(self, url: str, **options: Any) -> httpx.Response:
        """Post to an address; repeated only with an ``Idempotency-Key`` header or ``repeat``."""
        return await self.arequest("POST", url, **options)

    async def aput(self, url: str, **options: Any) -> httpx.Response:
        """Put something at an address."""
        return await self.arequest("PUT", url, **options)

    async def adelete(self, url: str, **options: Any) -> httpx.Response:
        """Delete what is at an address."""
        return await self.arequest("DELETE", url, **options)

    async def arequest(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Make a request as :meth:`request` does, without holding the event loop."""
        repeat, bounds = self._terms(method, options)
        answer = await self._run_async(
            exchange_async, (method, url, bounds), options, repeat=repeat
        )
        return cast("httpx.Response", answer)

    def _terms(self, method: str, options: dict[str, Any]) -> tuple[bool, Bounds]:
        """Take what is ours out of the options of a request."""
        repeat = options.pop("repeat", False) or may_repeat(method, options.get("headers"))
        bounds = Bounds(
            seconds=DEFAULT_SECONDS if self.timeout is None else self.timeout,
            max_bytes=options.pop("max_bytes", DEFAULT_MAX_BYTES),
            trusted=options.pop("trusted", False),
            cut=options.pop("cut", False),
            into=options.pop("into", None),
        )
        return repeat, bounds

    def _run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        repeat: bool,
    ) -> Any:
        raise NotImplementedError

    async def _run_async(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        repeat: bool,
    ) -> Any:
        raise NotImplementedError

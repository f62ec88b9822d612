"""The HTTP clients of this process, and the connections that they keep.

There are two of each kind: connections that were opened without a judgement of their address are
kept apart from those that were judged.  Calls share connections and nothing else.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from weakref import WeakKeyDictionary

import httpcore
import httpx

from webapp.outbound.addresses import is_allowed
from webapp.outbound.connections import AsyncBackend, Backend, Trusts
from webapp.outbound.values import AnswerTooLarge

MAX_CONNECTIONS = 256
MAX_IDLE = 64
IDLE_SECONDS = 15.0
PIECE_BYTES = 4096
#: The extension of a request that says how large the body of its answer may be.
MAX_BYTES = "max_bytes"


def _pool_options() -> dict[str, Any]:
    return {
        "ssl_context": ssl_context(),
        "max_connections": MAX_CONNECTIONS,
        "max_keepalive_connections": MAX_IDLE,
        "keepalive_expiry": IDLE_SECONDS,
    }


class _Measured(httpx.SyncByteStream):
    """A body that ends with an error where it grows too large, whoever reads it.

    Where it is compressed it comes in pieces: a few bytes may become a thousand times as many, and
    whoever decodes them counts what comes of one piece before taking the next.
    """

    def __init__(self, stream: httpx.SyncByteStream, measure: "_Measure") -> None:
        self._stream = stream
        self._measure = measure

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield from self._measure(chunk)

    def close(self) -> None:
        self._stream.close()


class _AsyncMeasured(httpx.AsyncByteStream):
    """The same for coroutines."""

    def __init__(self, stream: httpx.AsyncByteStream, measure: "_Measure") -> None:
        self._stream = stream
        self._measure = measure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            for piece in self._measure(chunk):
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Measure:
    """Counts the bytes of one answer's body, as they come."""

    def __init__(self, request: httpx.Request, response: httpx.Response) -> None:
        self._left: int | None = request.extensions.get(MAX_BYTES)
        self._most = self._left
        self._compressed = "Content-Encoding" in response.headers

    def __call__(self, chunk: bytes) -> Iterable[bytes]:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise AnswerTooLarge(f"the answer is larger than {self._most:,} bytes")
        if not self._compressed:
            return (chunk,)
        return (chunk[at : at + PIECE_BYTES] for at in range(0, len(chunk), PIECE_BYTES))


class _Transport(httpx.HTTPTransport):
    """httpx's transport over connections of ours; it has no argument for that."""

    def __init__(self, trusts: Trusts) -> None:
        super().__init__(verify=ssl_context(), trust_env=False)
        self._pool = httpcore.ConnectionPool(network_backend=Backend(trusts), **_pool_options())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Measured(response.stream, _Measure(request, response))
        return response


class _AsyncTransport(httpx.AsyncHTTPTransport):
    """The same for coroutines."""

    def __init__(self, trusts: Trusts) -> None:
        super().__init__(verify=ssl_context(), trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=AsyncBackend(trusts), **_pool_options()
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _AsyncMeasured(response.stream, _Measure(request, response))
        return response


@cache
def ssl_context() -> ssl.SSLContext:
    """Return whom we trust to say who somebody is; reading it takes longer than a request."""
    return httpx.create_ssl_context()


def _no_cookies() -> CookieJar:
    """Return a jar that stays empty: calls that share connections share nothing else."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


Loop = asyncio.AbstractEventLoop


class _AsyncClients:
    """The clients of one event loop, closed as it ends."""

    def __init__(self, trusts: Callable[..., Trusts]) -> None:
        self.by_trust = {
            trusted: httpx.AsyncClient(
                transport=_AsyncTransport(trusts(trusted=trusted)),
                trust_env=False,
                cookies=_no_cookies(),
            )
            for trusted in (False, True)
        }
        self._life: AsyncIterator[None]

    async def await_end(self, forget: Callable[[], object]) -> None:
        # A loop tells nobody of its end but asynchronous generators that have begun.
        self._life = self._until_end(forget)
        await anext(self._life)

    async def _until_end(self, forget: Callable[[], object]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            forget()
            for client in self.by_trust.values():
                await client.aclose()


class _Process:
    """The hosts that this process may call whatever their address is, and its connections."""

    def __init__(self) -> None:
        self.allowed: frozenset[str] = frozenset()
        self._clients: dict[bool, httpx.Client] = {}
        self._async_clients: WeakKeyDictionary[Loop, _AsyncClients]
        self.begin_process()

    def begin_process(self) -> None:
        """Drop what a parent has opened: its sockets stay its own."""
        self._clients = {}
        self._async_clients = WeakKeyDictionary()

    def allow(self, hosts: Collection[str]) -> None:
        self.allowed = frozenset(hosts)
        self.close()

    def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def client(self, *, trusted: bool) -> httpx.Client:
        client = self._clients.get(trusted)
        if client is None:
            made = httpx.Client(
                transport=_Transport(self._trusts(trusted=trusted)),
                trust_env=False,
                cookies=_no_cookies(),
            )
            # Of two threads that come first at once, one client is kept.
            client = self._clients.setdefault(trusted, made)
        return client

    async def async_client(self, *, trusted: bool) -> httpx.AsyncClient:
        """Return the client of the running loop, which closes it as it ends."""
        loop = asyncio.get_running_loop()
        clients = self._async_clients.get(loop)
        if clients is None:
            clients = self._async_clients[loop] = _AsyncClients(self._trusts)
            await clients.await_end(lambda: self._async_clients.pop(loop, None))
        return clients.by_trust[trusted]

    def _trusts(self, *, trusted: bool) -> Trusts:
        return lambda host, port: trusted or is_allowed(host, port, self.allowed)


_process = _Process()
os.register_at_fork(after_in_child=_process.begin_process)

allow_hosts = _process.allow
client = _process.client
async_client = _process.async_client


def allowed_hosts() -> frozenset[str]:
    """Return the hosts (``name`` or ``name:port``) whose address may be any."""
    return _process.allowed

"""Where connections to other machines lead.

A name is resolved as a connection is opened, every address that it points to is judged, and the
connection goes to one of those: nobody asks again, so a name that means another address a moment
later changes nothing, and what is sent over the connection later goes where it was judged to go.
"""

import ssl
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import httpcore

from webapp.outbound.addresses import refusal, unfit_host
from webapp.outbound.deadlines import BoundedStream, left_until_end
from webapp.outbound.resolution import resolve, resolve_async
from webapp.outbound.values import AddressRefused

#: Tells whether a host and port may be called whatever their address is.
Trusts = Callable[[str, int], bool]
SocketOptions = Iterable[Any] | None


def judged(host: str, port: int, addresses: Sequence[str], trusts: Trusts) -> Sequence[str]:
    """Return the addresses; one forbidden among others forbids them all."""
    if trusts(host, port):
        return addresses
    kind = unfit_host(host)
    if kind is not None:
        raise AddressRefused.field("url", f"{host} is no place to call: {kind}.")
    for address in addresses:
        if kind := refusal(ip_address(address)):
            raise AddressRefused.field("url", f"{host} points to a {kind}.")
    return addresses


class Backend(httpcore.NetworkBackend):
    """Opens connections to judged addresses."""

    def __init__(self, trusts: Trusts) -> None:
        self._trusts = trusts
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        try:
            found = resolve(host, port, seconds=left_until_end(timeout, httpcore.ConnectTimeout))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(judged(host, port, found, self._trusts))
        while True:
            address = addresses.pop(0)
            left = left_until_end(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._plain.connect_tcp(
                    address,
                    port,
                    # One that swallows what is sent leaves time for those after it.
                    timeout=None if left is None else left / (len(addresses) + 1),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                # Nothing has been sent yet, so the next address may be tried.
                if not addresses:
                    raise
            else:
                return BoundedStream(stream)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """A connection that is closed where its handshake is cancelled, which httpcore leaves open."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
    ) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
    ) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to judged addresses, without holding the event loop."""

    def __init__(self, trusts: Trusts) -> None:
        self._trusts = trusts
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await resolve_async(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(judged(host, port, found, self._trusts))
        share = None if timeout is None else timeout / len(addresses)
        while True:
            try:
                stream = await self._plain.connect_tcp(
                    addresses.pop(0),
                    port,
                    timeout=share,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise
            else:
                return _AsyncStream(stream)

"""One request to an address that somebody else has named, within its time and size.

A name is resolved once, every address that it points to is judged, and the connection goes to one
of those: nobody asks again, so a name that means another address a moment later changes nothing.
The name still stands in ``Host`` and in the certificate.  Redirects are errors, since where they
lead was not judged; proxies of the environment are not used, since they would resolve anew.
"""

import socket
import ssl
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpx

from webapp.errors import Invalid
from webapp.guards.http import TimeLimitExceeded
from webapp.outbound.addresses import PORTS, check_url, is_allowed, refusal

#: More of an answer is not read.
MAX_ANSWER_BYTES = 65_536


class _Process:
    """The hosts that this process may call whatever their address is."""

    def __init__(self) -> None:
        self.allowed: frozenset[str] = frozenset()


_process = _Process()


def allow_hosts(hosts: Collection[str]) -> None:
    """Set the hosts (``name`` or ``name:port``) whose address may be any."""
    _process.allowed = frozenset(hosts)


def check_callback_url(url: str) -> None:
    """Refuse an address that no callback may go to; :class:`Invalid` names ``callback_url``."""
    check_url(url, field="callback_url", allowed=_process.allowed)


def send(
    method: str,
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
) -> httpx.Response:
    """Make one request; ``httpx.HTTPStatusError`` for every status but 2xx.

    ``seconds`` bounds the whole of it once the name is resolved.  :class:`Invalid` where the
    address may not be called.  Of the answer's body the first 64 KiB are kept, as they came.
    """
    check_url(url, field="url", allowed=_process.allowed)
    named = httpx.URL(url)
    plain = {"Accept-Encoding": "identity", **(headers or {}), "Host": named.netloc.decode("ascii")}
    addresses = _resolve(named)
    ends = time.monotonic() + seconds
    while True:
        address = addresses.pop(0)
        request = httpx.Request(
            method,
            named.copy_with(host=address),
            headers=plain,
            content=content,
            extensions={"sni_hostname": named.host},
        )
        try:
            answer = _exchange(request, ends - time.monotonic())
        except (httpx.ConnectError, httpx.ConnectTimeout):
            # Nothing has been sent yet, so the next address may be tried.
            if not addresses or time.monotonic() >= ends:
                raise
        else:
            # An error's text is kept and shown: it tells the host, and not what a path may hide.
            answer.request = httpx.Request(method, named.copy_with(raw_path=b"/"))
            return answer.raise_for_status()


def _resolve(url: httpx.URL) -> list[str]:
    """Return what a name points to; one forbidden address among others forbids them all."""
    port = url.port or PORTS[url.scheme]
    found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    if not is_allowed(url.host, port, _process.allowed):
        for address in addresses:
            if kind := refusal(ip_address(address)):
                raise Invalid.field("url", f"{url.host} points to a {kind}.")
    return addresses


def _exchange(request: httpx.Request, seconds: float) -> httpx.Response:
    """Send a request over a connection of its own: what it was opened for is what it serves."""
    limit = max(seconds, 0.001)
    transport = httpx.HTTPTransport(verify=_trusted(), trust_env=False)
    with (
        _Deadline(limit) as deadline,
        httpx.Client(transport=transport, trust_env=False, follow_redirects=False) as client,
    ):
        request.extensions |= {
            "timeout": httpx.Timeout(limit).as_dict(),
            "trace": deadline.watch,
        }
        response = client.send(request, stream=True)
        try:
            return _read(response)
        finally:
            response.close()


def _read(response: httpx.Response) -> httpx.Response:
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    headers = httpx.Headers(response.headers)
    # The body is kept as it came, and may be cut short.
    headers.pop("Content-Encoding", None)
    headers.pop("Content-Length", None)
    return httpx.Response(response.status_code, headers=headers, content=body[:MAX_ANSWER_BYTES])


@cache
def _trusted() -> ssl.SSLContext:
    # Reading all certificates takes longer than a request.
    return httpx.create_ssl_context()


class _Deadline:
    """Cuts a connection when its time is over.

    httpx limits the wait for each read, and a server that sends a byte now and then would pass
    that for ever.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._connection: socket.socket | None = None
        self._passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._connection is not None:
            self._connection.close()
        if self._passed and (error is None or isinstance(error, httpx.TransportError)):
            raise TimeLimitExceeded(f"the answer took longer than {self._seconds:g} s") from error

    def watch(self, event: str, facts: Mapping[str, Any]) -> None:
        """Learn of the connection, from httpcore's tracing."""
        if event == "connection.connect_tcp.complete":
            # A second handle on it: TLS takes the first one over.
            self._connection = facts["return_value"].get_extra_info("socket").dup()

    def _cut(self) -> None:
        self._passed = True
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

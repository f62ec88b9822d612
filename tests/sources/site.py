"""A small web site on a local socket: what it answers is a function of the path and the headers."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_server import Server, answer
from webapp.outbound.clients import allow_hosts, allowed_hosts

Query = Mapping[str, str]
Headers = Mapping[str, str]
Answer = bytes | Callable[[socket.socket], None]


class Site(Server):
    """Answers each request with what ``reply(path, query, headers)`` returns for it."""

    def __init__(self, reply: Callable[[str, Query, Headers], Answer]) -> None:
        self.reply = reply
        super().__init__()
        self.answers = [self._respond]

    @property
    def paths(self) -> list[str]:
        """What was asked for so far, with the query."""
        return [request.line.split()[1] for request in self.received]

    def _respond(self, connection: socket.socket) -> None:
        request = self.received[-1]
        parts = urlsplit(request.line.split()[1])
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        found = self.reply(parts.path, query, request.headers)
        if callable(found):
            found(connection)
        else:
            connection.sendall(found.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))


@contextmanager
def site(reply: Callable[[str, Query, Headers], Answer]) -> Iterator[Site]:
    """A site that may be called although it is local."""
    before = allowed_hosts()
    server = Site(reply)
    allow_hosts([*before, f"127.0.0.1:{server.port}"])
    yield server
    allow_hosts(before)
    server.close()


def as_json(body: Any, *headers: str) -> bytes:
    return answer("200 OK", *headers, body=json.dumps(body).encode())


def orders(numbers: range) -> list[dict[str, Any]]:
    return [{"id": number, "total": {"amount": number * 10}} for number in numbers]


def numbered(count: int, size: int) -> Callable[[str, Query, Headers], bytes]:
    """An API of so many orders in numbered pages."""

    def reply(_: str, query: Query, __: Headers) -> bytes:
        first = (int(query["page"]) - 1) * size
        return as_json(orders(range(first, min(first + size, count))))

    return reply


def with_cursor(count: int, size: int) -> Callable[[str, Query, Headers], bytes]:
    """An API of so many orders whose answers name the next cursor."""

    def reply(_: str, query: Query, __: Headers) -> bytes:
        first = int(query.get("cursor", "0"))
        last = min(first + size, count)
        meta = {"next": str(last) if last < count else None}
        return as_json({"data": {"items": orders(range(first, last))}, "meta": meta})

    return reply


def feed(*names: str) -> bytes:
    items = "".join(
        f"<item><guid>{name}</guid><title>About {name}</title></item>" for name in names
    )
    return f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'.encode()

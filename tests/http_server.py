"""A real HTTP server on a local socket, which answers as it is told or misbehaves."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Server:
    """Answers each connection with the next of ``answers``; the last one stays."""

    def __init__(
        self, address: str = "127.0.0.1", *, context: ssl.SSLContext | None = None
    ) -> None:
        self.answers: list[bytes | Callable[[socket.socket], None]] = [OK]
        self.received: list[Received] = []
        self.stopped = threading.Event()
        self.context = context
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{self.port}/"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def methods(self) -> list[str]:
        """The method of each request so far."""
        return [request.line.partition(" ")[0] for request in self.received]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        # A client that leaves early, or that trusts no certificate, is no fault of the server.
        with plain, suppress(OSError):
            connection = plain
            if self.context is not None:
                connection = self.context.wrap_socket(plain, server_side=True)
            request = read_request(connection)
            if request is None:
                return
            self.received.append(request)
            reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if callable(reply):
                reply(connection)
            else:
                connection.sendall(reply.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            if connection is not plain:
                connection.close()

    def close(self) -> None:
        self.stopped.set()
        # A thread that waits in accept() keeps the port open after close() alone.
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


def read_request(connection: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65_536)):
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rest)
    }
    while len(body) < int(headers.get("content-length", "0")):
        if not (more := connection.recv(65_536)):
            return None
        body += more
    return Received(line, headers, body)


def reset_connection(connection: socket.socket) -> None:
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, for 0 s: close() sends a reset
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def stall(server: Server, first: bytes) -> Callable[[socket.socket], None]:
    def reply(connection: socket.socket) -> None:
        connection.sendall(first)
        server.stopped.wait(10)

    return reply


def drip(server: Server, first: bytes = HEAD) -> Callable[[socket.socket], None]:
    """Send a byte now and then, each in time."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(first)
        while not server.stopped.wait(0.1):
            connection.sendall(b".")

    return reply

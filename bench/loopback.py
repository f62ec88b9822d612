"""A stub server on 127.0.0.1, and the promise that nothing leaves this machine.

It holds what stands in for the services that SDKs and proxies are made for: it serves what it was
given and swallows what is posted.  It must not know whose service it plays.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

HOST: Final = "127.0.0.1"
_HERE: Final = frozenset({HOST, "localhost", "::1", "", None})


@contextmanager
def serve(answers: Mapping[str, Any]) -> Iterator[str]:
    """Serve each answer as JSON under its path, and yield the address to ask at."""

    class Handler(BaseHTTPRequestHandler):
        """Looks the path up; its query is not looked at."""

        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionError):  # A client that hangs up is no news.
                super().handle()

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            self.answer(200 if path in answers else 404, answers.get(path, {}))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(202, {})

        def answer(self, status: int, body: Any) -> None:
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Keep silent: the figures are what is printed."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def stay() -> None:
    """Refuse every connection of this process's Python code that would leave the machine.

    Compiled SDKs open theirs past Python; those are told by their options to stay.
    """
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = HOST
    sys.addaudithook(_refuse_elsewhere)


def _refuse_elsewhere(event: str, arguments: tuple[Any, ...]) -> None:
    """Look at where a socket or a look-up of a name is going."""
    if event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if (host.decode() if isinstance(host, bytes) else host) not in _HERE:
        raise PermissionError(f"{event} to {host}: a bench stays on {HOST}")

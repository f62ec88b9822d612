"""Clients that others wrote, and a console on a port of its own for them to ask."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.servers import LOOPBACK, NOT_RUN

HERE: Final = Path(__file__).resolve().parent
#: What npm has installed here, once it is whole.
INSTALLED: Final = HERE / "node_modules" / ".package-lock.json"
RUN_SECONDS: Final = 60


@dataclass(slots=True)
class Console:
    """A console that answers on a port, and what it was asked: method, path and status."""

    url: str
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def statuses(self, path: str) -> list[int]:
        """Return what was answered at an address, in order."""
        return [status for _, asked, status in self.asked if asked == path]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # werkzeug's name
        """Say nothing: what is asked is noted."""


@contextmanager
def answering(app: Flask) -> Iterator[Console]:
    """Let an application answer over HTTP, from this process."""
    console = Console("")

    def noting(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        def start_noted(status: str, headers: Any, *failure: Any) -> Any:
            asked = (environ["REQUEST_METHOD"], environ["PATH_INFO"], int(status[:3]))
            console.asked.append(asked)
            return start(status, headers, *failure)

        return app.wsgi_app(environ, start_noted)

    server = make_server(LOOPBACK, 0, noting, threaded=True, request_handler=_Quiet)
    console.url = f"http://{LOOPBACK}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield console
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


RunNode = Callable[..., Any]


@pytest.fixture(scope="session")
def run_node() -> RunNode:
    """Run a script of this folder with npm's packages, and return the JSON that it prints."""
    node = shutil.which("node")
    if node is None or not INSTALLED.exists():
        pytest.skip(NOT_RUN + "Node.js with npm's packages")

    def run(script: str, **given: object) -> Any:
        ran = subprocess.run(
            [node, HERE / script],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return json.loads(ran.stdout)

    return run

"""Starts the servers that are measured over HTTP, each on loopback and ended by its id.

It must not know what they are compared with.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from loads import pinned
from loopback import HOST

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAMS: Final = Path(sys.executable).parent
START_SECONDS: Final = 30
STOP_SECONDS: Final = 15


def gunicorn(application: str, port: int, *, workers: int = 2) -> list[str]:
    """Return the command that serves an application as the web process is served."""
    settings = str(ROOT / "gunicorn.conf.py")
    bind = [
        "--bind",
        f"{HOST}:{port}",
        "--workers",
        str(workers),
        "--pythonpath",
        str(ROOT / "bench"),
    ]
    return [str(PROGRAMS / "gunicorn"), "-c", settings, *bind, application]


def granian(application: str, port: int, *, factory: bool = False) -> list[str]:
    """Return the command that serves an application as the edge is served, in one process."""
    command = [
        str(PROGRAMS / "granian"),
        "--interface",
        "wsgi",
        "--host",
        HOST,
        "--port",
        str(port),
    ]
    command += ["--workers", "1", "--blocking-threads", "2", "--no-ws", "--log-level", "warning"]
    return [*command, *(["--factory"] if factory else []), application]


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    path: str,
    environ: Mapping[str, str] | None = None,
    cpu: int | None = None,
) -> Iterator[str]:
    """Run a server and yield its address once ``path`` answers; ``cpu`` keeps it on one."""
    process = subprocess.Popen(
        [*pinned(cpu), *command],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"}
        | dict(environ or {}),
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(process, port, path)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        if _answers(port, path):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{process.args!r} did not answer within {START_SECONDS} s")


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200  # noqa: PLR2004
    except OSError:
        return False
    finally:
        connection.close()

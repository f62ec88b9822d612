"""Starts the Unleash proxy before a stub of Unleash, and ends it again.

It holds the requests that load it as well.  It must not know who is compared with it.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from loads import pinned
from loopback import HOST, serve
from unleash_proxy.features import feature, feature_names

NODE: Final = "node"
START_SECONDS: Final = 30
_CLIENT_KEY: Final = "bench"
_CONTEXT: Final = {"userId": "user-1", "properties": {"plan": "pro", "country": "DE"}}

HEADERS: Final = {"Authorization": _CLIENT_KEY}
_QUERY: Final = "appName=bench&userId=user-1&properties%5Bplan%5D=pro&properties%5Bcountry%5D=DE"
# All flags are decided; the first answers with those that are on, the second with every one.
ENABLED: Final = f"/proxy?{_QUERY}"
ALL: Final = f"/proxy/all?{_QUERY}"
# Posted there, ONE has one flag decided.
NAMED: Final = "/proxy"
ONE: Final = json.dumps({"context": _CONTEXT, "toggles": feature_names()[:1]})


@contextmanager
def start_proxy(node_modules: Path, port: int, *, cpu: int | None = None) -> Iterator[str]:
    """Run the proxy that is installed in ``node_modules`` and yield its address once it answers.

    ``cpu`` keeps it on one processor.  What is ended is the process that was started, by its id.
    """
    _require_free(port)
    features = {"version": 2, "features": [feature(name) for name in feature_names()]}
    with serve({"/api/client/features": features}) as upstream:
        script = str(Path(__file__).with_name("start.cjs"))
        arguments = [str(node_modules.resolve()), str(port), f"{upstream}/api", _CLIENT_KEY]
        process = subprocess.Popen(
            [*pinned(cpu), NODE, script, *arguments],
            env=_environment(),
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait(process, port)
            yield f"http://{HOST}:{port}"
        finally:
            _end(process)


def installed_version(node_modules: Path) -> str | None:
    """Return the version of the proxy in this folder, None where it is not installed."""
    about = node_modules / "@unleash" / "proxy" / "package.json"
    return str(json.loads(about.read_text())["version"]) if about.is_file() else None


def _require_free(port: int) -> None:
    """Raise OSError where somebody listens, so that no other server is taken for the proxy."""
    with socket.create_server((HOST, port)):
        pass


def _environment() -> dict[str, str]:
    """Only what Node.js needs: the proxy reads settings of its own from the environment."""
    return {"PATH": os.environ["PATH"], "NODE_ENV": "production"}


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once the proxy has its flags and says that it is ready."""
    until = monotonic() + START_SECONDS
    while monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the proxy ended with status {process.returncode}")
        if _is_ready(port):
            return
        sleep(0.1)
    raise TimeoutError(f"the proxy was not ready within {START_SECONDS} s")


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/proxy/health")
        return connection.getresponse().status == 200  # noqa: PLR2004
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

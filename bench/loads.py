"""One load of HTTP requests, made by wrk from one thread, and what came of it.

It asks servers of this machine only, for a bounded time.  It must not know what they answer.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loopback import HOST

WRK: Final = "wrk"
LONGEST_SECONDS: Final = 60
_SCRIPT: Final = Path(__file__).with_name("load.lua")
_FIGURES: Final = "FIGURES "


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a server bore: latencies are in milliseconds.

    Errors are connections that failed or timed out, and answers of status 400 and above; these
    are in the rate too, so a rate counts only where there are none.
    """

    requests_per_second: float
    p50: float
    p99: float
    errors: int


def load(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    connections: int = 16,
    seconds: int = 5,
    cpu: int | None = None,
) -> Load:
    """Ask for ``url`` over so many connections at once; a body is posted as JSON.

    ``cpu`` keeps wrk on one processor, so that the server can have another to itself.
    """
    if urlsplit(url).hostname != HOST:
        raise ValueError(f"{url} is not on {HOST}")
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"a load lasts 1 to {LONGEST_SECONDS} seconds, not {seconds}")
    named = dict(headers or {}) | ({"Content-Type": "application/json"} if body else {})
    command = [*pinned(cpu), WRK, "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--latency", "--script", str(_SCRIPT)]
    for name, value in named.items():
        command += ["--header", f"{name}: {value}"]
    command += [url, *(["--", body] if body else [])]
    done = subprocess.run(  # parse() says what went wrong, in the words of wrk
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds + LONGEST_SECONDS,
    )
    return parse(done.stdout)


def pinned(cpu: int | None) -> list[str]:
    """Return what keeps the command that follows on one processor; it stays one process."""
    return [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]


def parse(output: str) -> Load:
    """Read the line that load.lua writes: requests, then microseconds, then errors."""
    lines = [line for line in output.splitlines() if line.startswith(_FIGURES)]
    if not lines:
        raise ValueError(f"wrk gave no figures: {output.strip()}")
    requests, duration, p50, p99, errors = (int(word) for word in lines[-1].split()[1:])
    return Load(
        requests_per_second=requests / duration * 1e6,
        p50=p50 / 1000,
        p99=p99 / 1000,
        errors=errors,
    )

"""Ask a running console for what people and programs need; fail at the first that it does not do.

    TOKEN=… python3 scripts/smoke.py https://console.example

The token is one of an admin. What is made is removed again. SSL_CERT_FILE names the certificate of
a console that signs its own. Needs nothing but Python, so that any machine can ask.
"""

import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

ANSWER_SECONDS = 30
JOB_SECONDS = 60
POLL_SECONDS = 0.5
SHOWN = 500
REASON = {"reason": "smoke"}


class Failed(Exception):
    """The console did not do what was asked; the message says what."""


class Console:
    """A console, asked with a token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> str:
        """Return the text of an answer; one that is no success fails."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - whoever runs this names the console
            self._url + path, data=data, method=method, headers=self._headers | headers
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                text: str = answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:SHOWN]
            raise Failed(f"{method} {path}: {error.code} {said}") from None
        except OSError as error:
            raise Failed(f"{method} {path}: {error}") from None
        return text

    def post(self, path: str, body: object, **headers: str) -> dict[str, Any]:
        """Send an object, and return the one that is answered."""
        answer: dict[str, Any] = json.loads(self.ask("POST", path, body, **headers))
        return answer


def main() -> int:
    """Run the command line; return its exit code."""
    token = os.environ.get("TOKEN", "")
    if len(sys.argv) != 2 or not token:  # noqa: PLR2004
        print("usage: TOKEN=… smoke.py https://console.example", file=sys.stderr)
        return 2
    console = Console(sys.argv[1], token)
    steps: tuple[tuple[str, Callable[[Console], None]], ...] = (
        ("alive", alive),
        ("ready: database, schema, queue, flags", ready),
        ("the sign-in page", sign_in_page),
        ("a flag made, evaluated and removed", evaluates),
        ("a request sent twice done once, its job run, its file had", runs_a_job),
    )
    for name, step in steps:
        try:
            step(console)
        except (Failed, KeyError, ValueError) as error:
            print(f"FAILED  {name}: {error}", file=sys.stderr)
            return 1
        print(f"ok      {name}")
    return 0


def alive(console: Console) -> None:
    """Ask whether the web process answers."""
    console.ask("GET", "/health")


def ready(console: Console) -> None:
    """Ask whether it has what it needs."""
    console.ask("GET", "/ready")


def sign_in_page(console: Console) -> None:
    """Ask for the page that everybody begins with."""
    if 'name="password"' not in console.ask("GET", "/sign-in"):
        raise Failed("no field for a password")


def evaluates(console: Console) -> None:
    """Make a flag, ask it, and remove it for good."""
    name = f"smoke_{secrets.token_hex(4)}"
    path = f"/api/v1/feature-flags/{name}"
    console.post("/api/v1/feature-flags", {"name": name, "description": "Made by smoke.py"})
    try:
        answer = console.post(f"{path}/evaluate", {"user_id": "1"})
        if answer["enabled"] is not False:
            raise Failed(f"a new flag is on: {answer}")
    finally:
        console.ask("DELETE", path, REASON)
        console.ask("DELETE", f"{path}?purge=true", REASON)


def runs_a_job(console: Console) -> None:
    """Have a worker write a report, and the web process send it."""
    key = {"Idempotency-Key": secrets.token_hex(16)}
    wanted = {"kind": "operations", "format": "json", "days": 1}
    report, again = (console.post("/api/v1/reports", wanted, **key)["id"] for _ in range(2))
    if report != again:
        raise Failed(f"one key made two reports: {report} and {again}")
    path = f"/api/v1/reports/{report}"
    try:
        await_report(console, path)
        json.loads(console.ask("GET", f"{path}/download"))
    finally:
        console.ask("DELETE", path, REASON)


def await_report(console: Console, path: str) -> None:
    """Wait until a worker has written it."""
    deadline = time.monotonic() + JOB_SECONDS
    while (state := json.loads(console.ask("GET", path))["state"]) != "ready":
        if time.monotonic() > deadline:
            raise Failed(f"its job is {state} after {JOB_SECONDS} s: is a worker alive?")
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

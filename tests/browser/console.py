"""The console as people run it: a real web server and a real worker on the embedded set-up.

Holds how both start, stop and come back, and the accounts that sign in. A test changes what they
hold through `Account`, by the same forms as the pages; it never reaches into the database. Knows
nothing of the browser.
"""

import html
import os
import re
import subprocess
from pathlib import Path
from typing import Self

import httpx

from tests.processes import Deployment, wait_until
from tests.servers import free_port

LOOPBACK = "127.0.0.1"
PASSWORD = "correct horse battery"
STOP_SECONDS = 20


class Account:
    """Somebody who is signed in, and acts through the forms of the pages without a browser."""

    def __init__(self, url: str, username: str) -> None:
        self.username = username
        self._client = httpx.Client(base_url=url, follow_redirects=True, timeout=30)
        self.post("/sign-in", page="/sign-in", username=username, password=PASSWORD, next="/")

    def get(self, path: str) -> str:
        """Return a page."""
        return self._client.get(path).raise_for_status().text

    def post(self, path: str, *, page: str = "/account", **fields: str) -> str:
        """Send a form with the token of `page`; returns the page that follows."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page))
        assert token, f"{page} holds no form"
        fields["csrf_token"] = html.unescape(token[1])
        return self._client.post(path, data=fields).raise_for_status().text

    def cookies(self) -> list[tuple[str, str]]:
        """What a browser needs to go on as this account."""
        return list(self._client.cookies.items())

    def close(self) -> None:
        """Close its connections; the session goes on."""
        self._client.close()


class Console(Deployment):
    """Web server and worker over one folder; the same port and data from start to start."""

    def __init__(self, folder: Path) -> None:
        # The lease as it comes: a busy machine must not lose a job that nobody means to kill.
        super().__init__(
            folder,
            ADMIN_PASSWORD=PASSWORD,
            JOB_LEASE_SECONDS="30",
            JOB_HEARTBEAT_SECONDS="10",
            LOG_LEVEL="WARNING",
            SHUTDOWN_GRACE="5",
        )
        self._port = free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._web: subprocess.Popen[bytes] | None = None
        self._accounts: dict[str, Account] = {}

    def __enter__(self) -> Self:
        self.flask("db", "upgrade")
        self.flask("seed")
        try:
            self._worker = self.start_consumer()
            self.open()
        except BaseException:
            super().__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for account in self._accounts.values():
            account.close()
        try:
            self.shut()
            _end(self._worker)
        finally:
            super().__exit__()

    def open(self) -> None:
        """Start the web server, and return once it answers."""
        self._web = self.start_web(self._port, processes=2)

    def shut(self) -> None:
        """End the web server; data and sessions stay."""
        if self._web:
            _end(self._web)

    def account(self, username: str = "admin", role: str = "admin") -> Account:
        """Return an account that is signed in; one that is not known yet is made."""
        if username not in self._accounts:
            if username != "admin":
                self.make_account(username, role)
            self._accounts[username] = Account(self.url, username)
        return self._accounts[username]

    def make_account(self, username: str, role: str) -> None:
        """Make an account with the password of all of them."""
        words = ("users", "create", username, "--role", role, "--password-stdin")
        self.flask(*words, stdin=f"{PASSWORD}\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process in good order, and fail if it leaves a child behind."""
    process.terminate()
    process.wait(STOP_SECONDS)
    wait_until(lambda: not _lives(process.pid), seconds=5, what=f"no child of {process.args!r}")


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

"""Whole deployments for tests: the real web server and the real consumer, as processes.

Each deployment has a folder and settings of its own; every process that it started is ended with
it, by its id, and so are that process's children.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Self

import flask_migrate
import httpx
from honcho.environ import parse_procfile

from tests.conftest import SECRET, end, make_settings
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now
from webapp.db import transaction
from webapp.roles import Role

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CONSUMER = "-w {workers} -k {kind} -g TERM -t 4 -c 1 -d .05 -m .25 -n"
END_SECONDS = 20.0


def wait_until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until something holds, and fail in words where it does not come to hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def is_up(port: int) -> bool:
    """Tell whether the web server on this port answers."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False


class Deployment:
    """One database, one queue, and the processes that use them."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {
            "ENVIRONMENT": "test",
            "INSTANCE_DIR": str(folder),
            "SECRET_KEY": SECRET,
            "LOG_LEVEL": "INFO",
            "REQUEST_LIMITS": "false",
            "JOB_MODULES": "tests.jobs.types",
            # Short, so that a test need not wait half a minute for a rescue.
            "JOB_LEASE_SECONDS": "3",
            "JOB_HEARTBEAT_SECONDS": "1",
        } | environ
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            self.end(process)

    @contextmanager
    def looked_into(self) -> Iterator[None]:
        """The context of an application of the test's own process on the same database.

        Its threads end with it: one that went on would publish its tokens where others look.
        """
        app = create_app(make_settings(self.folder, **self._settings()))
        try:
            with app.app_context():
                yield
        finally:
            end(app)

    def flask(self, *words: str, stdin: str = "") -> str:
        """Run one of our commands to its end and return what it printed."""
        done = subprocess.run(
            [BIN / "flask", "--app", "wsgi", *words],
            cwd=ROOT,
            env=self._env(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"flask {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def make_token(self, role: Role) -> str:
        """Make a token for programs, in the database that is looked into."""
        with transaction() as session:
            made = create_token(
                session, name=f"test-{role}", role=role, environment=None, by=COMMAND, now=now()
            )
        return made.text

    def start_consumer(self, workers: int = 2, kind: str = "process") -> subprocess.Popen[bytes]:
        """Start ``huey_consumer tasks.huey`` in a process group of its own."""
        options = CONSUMER.format(workers=workers, kind=kind).split()
        return self._start("worker", [str(BIN / "huey_consumer"), "tasks.huey", *options])

    def start_worker(self, *words: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start ``flask worker`` with these words, in a process group of its own."""
        command = [str(BIN / "flask"), "--app", "wsgi", "worker", *words]
        return self._start("worker", command, **environ)

    def start_web(self, port: int, processes: int = 1, **environ: str) -> subprocess.Popen[bytes]:
        """Start gunicorn, with settings of its own, and wait until it is ready."""
        command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "wsgi:app"]
        ours = {"PORT": str(port), "WEB_CONCURRENCY": str(processes)}
        process = self._start("web", command, **(ours | environ))
        wait_until(lambda: is_up(port), seconds=60, what=f"web ready\n{self.log('web')}")
        return process

    def start_edge(self, port: int, **environ: str) -> subprocess.Popen[bytes]:
        """Start an edge by its line of the Procfile, with settings of its own."""
        procfile = parse_procfile((ROOT / "Procfile").read_text())
        path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        command = ["sh", "-c", procfile.processes["edge"]]
        return self._start("edge", command, EDGE_PORT=str(port), PATH=path, **environ)

    def log(self, name: str) -> str:
        """What the processes of that name have written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Crash a process and all its children at once: no farewell, nothing settled."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(END_SECONDS)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a process to end; one that does not is killed with its children."""
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
        self.kill(process)

    def _start(self, name: str, command: list[str], **environ: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._env() | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _env(self) -> dict[str, str]:
        # The test run's own settings were taken out of the environment by ``isolate``.
        kept = {name: value for name, value in os.environ.items() if name != "INSTANCE_DIR"}
        return kept | self.environ

    def _settings(self) -> dict[str, str]:
        return {name: value for name, value in self.environ.items() if name != "INSTANCE_DIR"}


@contextmanager
def deployed(folder: Path, **environ: str) -> Iterator[Deployment]:
    """A migrated deployment without processes; those that the test starts end with it."""
    with Deployment(folder, **environ) as deployment:
        # As ``flask db upgrade`` does it, without the seconds that a process of its own takes.
        with deployment.looked_into():
            flask_migrate.upgrade()
        yield deployment

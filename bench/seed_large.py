"""How soon the console's lists answer over a large history, beside a page that does nothing.

A million jobs with their attempts, a tenth of them dead letters, and as many audit entries are
written in bulk into the database at DATABASE_URL (without it, a SQLite file in ``--folder``, which
is kept and used again).  Then the pages are asked over HTTP, in turn with the page that does
nothing, and the medians of the first byte are printed.  Run it from the project's folder:

    python bench/seed_large.py [--folder DIR] [--jobs 1000000] [--rounds 15] [--statements 20]

``--statements`` also tells which statements took so many milliseconds or more, with their plans.
The hashes of the audit are unique, but chain nothing: ``flask audit verify`` would say so.
"""

import os
import random
import re
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import flask_migrate
from flask import Flask
from sqlalchemy import Connection, Table, event, func, insert, select, text

from loopback import HOST
from servers import gunicorn, running
from webapp.accounts.service import create_user
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.audit.models import AuditEntry
from webapp.clock import now
from webapp.db import Base, db, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import Reason
from webapp.jobs.histograms import counted
from webapp.jobs.models import Job, JobAttempt, JobMetric
from webapp.jobs.values import JobState, Outcome
from webapp.roles import Role
from webapp.settings import Settings
from webapp.workers.models import Worker

PASSWORD: Final = "correct horse battery"  # noqa: S105  # of an invented person
SECRET: Final = "a secret that only this measurement knows"  # noqa: S105
ROUNDS: Final = 15
WARM: Final = 2
BATCH: Final = 5_000
PORT: Final = 8330
DAYS: Final = 30
TYPES: Final = ("etl", "callback", "cleanup", "report", "notification", "webhook")
QUEUES: Final = ("default", "default", "default", "mail", "reports")
ACTIONS: Final = ("flag.updated", "flag.rolled_out", "job.retried", "job.canceled", "token.created")
FAULTS: Final = ("ConnectionError", "TimeoutError", "ValueError", "HTTPStatusError")
#: Of a thousand jobs so many are in each state; the others have succeeded.
SHARES: Final = {
    JobState.DEAD: 100,
    JobState.CANCELED: 10,
    JobState.SCHEDULED: 5,
    JobState.QUEUED: 2,
    JobState.RETRYING: 1,
}
FINGERPRINTS: Final = 300
PAGES: Final = {
    "Overview": "/",
    "Jobs": "/jobs",
    "Jobs, a page further": "/jobs?before=500000",
    "Jobs, succeeded": "/jobs?state=succeeded",
    "Jobs, dead": "/jobs?state=dead",
    "Jobs, one type": "/jobs?type=etl",
    "Jobs, one queue": "/jobs?queue=mail",
    "Jobs, type, state and queue": "/jobs?type=etl&state=dead&queue=mail",
    "Jobs, text that is found": "/jobs?q=source17",
    "Jobs, text that is not": "/jobs?q=nowhere",
    "Jobs, one argument": "/jobs?q=source:source17",
    "Job types": "/jobs/types",
    "Dead letters, groups": "/dead-letters",
    "Dead letters, list": "/dead-letters/list",
    "Dead letters, one type": "/dead-letters/list?type=etl",
    "Dead letters, text that is not": "/dead-letters/list?q=nowhere",
    "Audit": "/audit",
    "Audit, one action": "/audit?action=flag.updated",
    "Audit, one thing": "/audit?subject=flag&name=flag17",
    "Audit, text that is not": "/audit?q=nowhere",
    "Workers": "/workers",
}

Row = dict[str, Any]
Cookies = str


# --- the history ----------------------------------------------------------------------------------


def seed(app: Flask, jobs: int) -> None:
    """Write the history, unless it stands already."""
    with app.app_context():
        flask_migrate.upgrade()
        with db.engine.connect() as connection:
            if connection.execute(select(func.count()).select_from(Worker)).scalar():
                return
        with transaction() as session:
            create_user(session, "bench", password=PASSWORD, role=Role.ADMIN, by=COMMAND, now=now())
        history = History(jobs, now())
        for model, rows in (
            (Job, history.jobs),
            (JobAttempt, history.attempts),
            (DeadLetter, history.letters),
            (AuditEntry, history.entries),
            (JobMetric, history.metrics),
            (Worker, history.workers),
        ):
            _fill(model, rows())
        if db.engine.dialect.name == "postgresql":
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                # The server does so by itself after a while.
                connection.execute(text("VACUUM ANALYZE"))


def _fill(model: type[Base], rows: Iterator[Row]) -> None:
    table = cast("Table", model.__table__)
    began, written = time.monotonic(), 0
    with db.engine.connect() as connection:
        _hurry(connection)
        batch: list[Row] = []
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                connection.execute(insert(table), batch)
                written += len(batch)
                batch.clear()
        if batch:
            connection.execute(insert(table), batch)
        connection.commit()
    print(f"{table.name}: {written + len(batch):,} rows in {time.monotonic() - began:.0f} s")


def _hurry(connection: Connection) -> None:
    """Do not wait for the disk: what a crash would take is written again."""
    if connection.dialect.name == "sqlite":
        connection.connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]
    else:
        connection.execute(text("SET synchronous_commit = off"))


class History:
    """Rows of a past month, the same for the same number of jobs but for the time of day."""

    def __init__(self, count: int, until: datetime) -> None:
        self._count = count
        self._until = until
        self._step = timedelta(days=DAYS) / count

    def jobs(self) -> Iterator[Row]:
        """Return every job, the oldest first."""
        for number in range(1, self._count + 1):
            state, at = self._state(number), self._at(number)
            waits = state in {JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING}
            yield {
                "id": number,
                "type": TYPES[number % len(TYPES)],
                "queue": QUEUES[number % len(QUEUES)],
                "priority": 50,
                "state": state,
                "arguments": {"source": f"source{number % 500}", "batch_size": number % 97},
                "run_at": self._until + timedelta(days=1) if waits else at,
                "created_at": at,
                "created_by": f"program {number % 20}",
                "started_at": None if waits else at,
                "finished_at": None if waits else at + timedelta(seconds=number % 60),
                "attempts": 0 if waits else 1,
                "losses": 0,
                "deferrals": 0,
                "fence": 0 if waits else 1,
                "held": False,
                "result": {"processed": number} if state == JobState.SUCCEEDED else None,
                "error": _fault(number) if state == JobState.DEAD else None,
            }

    def attempts(self) -> Iterator[Row]:
        """Return the attempt of each job that ended."""
        outcomes = {JobState.DEAD: Outcome.FAILED, JobState.CANCELED: Outcome.CANCELED}
        for number in range(1, self._count + 1):
            state, at = self._state(number), self._at(number)
            if state in {JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING}:
                continue
            dead = state == JobState.DEAD
            yield {
                "job_id": number,
                "type": TYPES[number % len(TYPES)],
                "fence": 1,
                "due_at": at,
                "started_at": at,
                "ended_at": at + timedelta(seconds=number % 60),
                "outcome": outcomes.get(state, Outcome.SUCCEEDED),
                "worker": f"host{number % 4}:1:a",
                "error_class": "network" if dead else None,
                "exception_type": FAULTS[number % len(FAULTS)] if dead else None,
                "message": _fault(number) if dead else None,
                "traceback": _traceback(number) if dead else None,
            }

    def letters(self) -> Iterator[Row]:
        """Return the letter of each dead job; every third is resolved."""
        for number in range(1, self._count + 1):
            if self._state(number) != JobState.DEAD:
                continue
            at = self._at(number) + timedelta(seconds=number % 60)
            resolved = number % 3 == 0
            yield {
                "job_id": number,
                "type": TYPES[number % len(TYPES)],
                "arguments": {"source": f"source{number % 500}", "batch_size": number % 97},
                "reason": Reason.ATTEMPTS_SPENT,
                "error_class": "network",
                "exception_type": FAULTS[number % len(FAULTS)],
                "message": _fault(number),
                "traceback": _traceback(number),
                "fingerprint": f"{number % FINGERPRINTS:016x}",
                "retry_count": 0,
                "failed_at": at,
                "resolved_at": at + timedelta(hours=1) if resolved else None,
                "resolved_by": "ada" if resolved else None,
                "resolution": "resolved" if resolved else None,
            }

    def entries(self) -> Iterator[Row]:
        """Return as many audit entries as there are jobs; the table has one already."""
        for number in range(1, self._count):
            action = ACTIONS[number % len(ACTIONS)]
            subject = action.partition(".")[0]
            yield {
                "at": self._at(number),
                "actor_kind": "user",
                "actor": f"person{number % 25}",
                "action": action,
                "subject": subject,
                "name": f"{'' if subject == 'job' else subject}{number % 2000 + 1}",
                "reason": "Error rate is flat",
                "changes": {"percentage": [number % 100, (number + 5) % 100]},
                "previous_hash": f"{number:064x}",
                "hash": f"{number + 1:064x}",
            }

    def metrics(self) -> Iterator[Row]:
        """Return the hours of each type."""
        hour = self._until.replace(minute=0, second=0, microsecond=0)
        some = counted([(3, 30), (5, 12)])
        for number in range(DAYS * 24):
            for kind in TYPES:
                yield {
                    "type": kind,
                    "seconds": 3600,
                    "at": hour - number * timedelta(hours=1),
                    **dict.fromkeys(("failed", "retried", "deferred", "lost", "canceled"), 1),
                    "runs": 42,
                    "succeeded": 37,
                    "dead": 4,
                    "run_buckets": some,
                    "wait_buckets": some,
                }

    def workers(self) -> Iterator[Row]:
        """Return twenty workers that have shown life just now."""
        for number in range(20):
            yield {
                "name": f"host{number}:1:a",
                "place": f"place{number}",
                "host": f"host{number}",
                "pid": 1,
                "kind": "process",
                "processes": 2,
                "version": "0",
                "started_at": self._until - timedelta(days=1),
                "beat_at": self._until,
                "queues": [],
                "done": number * 1000,
                "failed": number,
            }

    def _at(self, number: int) -> datetime:
        return self._until - (self._count - number + 1) * self._step

    def _state(self, number: int) -> JobState:
        place = random.Random(number).randrange(1000)
        for state, share in SHARES.items():
            if place < share:
                return state
            place -= share
        return JobState.SUCCEEDED


def _fault(number: int) -> str:
    return f"{FAULTS[number % len(FAULTS)]}: host {number % FINGERPRINTS} does not answer"


def _traceback(number: int) -> str:
    lines = [f'  File "/srv/app/tasks/module{line}.py", line {line}, in run' for line in range(25)]
    return "\n".join(["Traceback (most recent call last):", *lines, _fault(number)])


# --- first bytes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one server, with the cookies of a session."""

    connection: HTTPConnection
    cookies: str = ""

    def first_byte(self, path: str) -> float:
        """Return after how many milliseconds the answer began; its rest is read too."""
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Cookie": self.cookies})
        answer = self.connection.getresponse()
        milliseconds = (time.perf_counter() - began) * 1000
        answer.read()
        # A server soon closes a connection that is idle, as the other one is meanwhile.
        self.connection.close()
        if answer.status != 200:  # noqa: PLR2004
            raise RuntimeError(f"{path} answered {answer.status}")
        return milliseconds


def sign_in(address: str) -> str:
    """Sign in as people do, and return the cookies of the session."""
    jar: dict[str, str] = {}
    connection = HTTPConnection(address.removeprefix("http://"))
    connection.request("GET", "/sign-in")
    page = _answered(connection, jar)
    token = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)[0]
    body = f"csrf_token={token}&username=bench&password={PASSWORD.replace(' ', '+')}"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": _written(jar),
    }
    connection.request("POST", "/sign-in", body, headers)
    _answered(connection, jar)
    return _written(jar)


def _answered(connection: HTTPConnection, jar: dict[str, str]) -> str:
    answer = connection.getresponse()
    for line in answer.headers.get_all("Set-Cookie") or ():
        name, _, value = line.partition(";")[0].partition("=")
        jar[name] = value
    return answer.read().decode()


def _written(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())


def measure(settings: Settings, rounds: int) -> None:
    """Ask every page in turn with the one that does nothing, and print the medians."""
    environ = {
        "ENVIRONMENT": "test",
        "REQUEST_LIMITS": "false",
        "INSTANCE_DIR": str(settings.instance_dir),
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": SECRET,
        "LOG_LEVEL": "WARNING",
    }
    with (
        running(gunicorn("wsgi:app", PORT), PORT, path="/health", environ=environ) as console,
        running(gunicorn("nothing:flask_app", PORT + 1), PORT + 1, path="/"),
    ):
        ours = Asker(HTTPConnection(HOST, PORT), sign_in(console))
        other = Asker(HTTPConnection(HOST, PORT + 1))
        print(f"\n{'first byte, ms':<34}{'median':>9}{'best':>9}{'nothing':>9}")
        for name, path in PAGES.items():
            times, nothing = [], []
            for number in range(WARM + rounds):
                taken, idle = ours.first_byte(path), other.first_byte("/")
                if number >= WARM:
                    times.append(taken)
                    nothing.append(idle)
            print(f"{name:<34}{median(times):>9.1f}{min(times):>9.1f}{median(nothing):>9.1f}")


# --- slow statements ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with how long it took, and how the database goes about it."""

    sql: str
    parameters: Any
    milliseconds: float


@contextmanager
def noting(app: Flask) -> Iterator[list[Statement]]:
    """Collect the statements of the body."""
    seen: list[Statement] = []
    # The flags' own thread asks beside this one, over a connection of its own.
    began: dict[int, float] = {}

    def before(*facts: Any) -> None:
        began[id(facts[0])] = time.perf_counter()

    def after(*facts: Any) -> None:
        # SQLite works while its rows are fetched, so this is only the time to the first of them.
        milliseconds = (time.perf_counter() - began[id(facts[0])]) * 1000
        seen.append(Statement(facts[2], facts[3], milliseconds))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


def tell_statements(app: Flask, milliseconds: float) -> None:
    """Print the statements of each page that took so long, with their plans."""
    client = app.test_client()
    page = client.get("/sign-in").get_data(as_text=True)
    token = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)[0]
    client.post("/sign-in", data={"csrf_token": token, "username": "bench", "password": PASSWORD})
    for name, path in PAGES.items():
        client.get(path)
        with noting(app) as seen:
            client.get(path)
        for item in seen:
            if item.milliseconds >= milliseconds:
                print(f"\n{name}: {item.milliseconds:.0f} ms\n{item.sql}\n{item.parameters}")
                print("\n".join(_plan(app, item)))


def _plan(app: Flask, item: Statement) -> list[str]:
    with app.app_context(), db.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        words = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN (ANALYZE, BUFFERS)"
        rows = connection.exec_driver_sql(f"{words} {item.sql}", item.parameters).all()
        return [f"    {row[-1]}" for row in rows]


def main(arguments: Namespace) -> None:
    """Seed, measure, tell."""
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="switchyard-large-"))
    environ = {
        "ENVIRONMENT": "test",
        "REQUEST_LIMITS": "false",
        "INSTANCE_DIR": str(folder),
        "DATABASE_URL": os.environ.get("DATABASE_URL", ""),
        "SECRET_KEY": SECRET,
        "LOG_LEVEL": "WARNING",
    }
    settings = Settings.from_environment(environ)
    print(f"{folder}: {settings.database_url.partition(':')[0]}")
    app = create_app(settings)
    seed(app, arguments.jobs)
    measure(settings, arguments.rounds)
    if arguments.statements is not None:
        tell_statements(app, arguments.statements)


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", help="keeps the SQLite file, and finds it again")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--statements", type=float, metavar="MS")
    main(parser.parse_args())

"""How fast a source is read, beside a plain loop that writes the same rows into the same database.

    python bench/etl.py [--megabytes 100] [--only embedded|servers]

Writes a CSV file of that size, and reads it twice: by the ``etl`` job under a worker of its own,
which keeps checkpoints, rejected rows, drift, and who stands unchanged, and by ``csv`` with
``executemany``, which only inserts or replaces by key in batches of 1,000.  Both keep each row as
JSON under its key, each in a table with the same index.  The second reading finds every row
unchanged.  Prints rows a second, the ratio, and the most memory that a process of the worker held.
"""

import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROOT: Final = Path(__file__).resolve().parent.parent
BATCH: Final = 1_000
LONGEST_SECONDS: Final = 3600
COLUMNS: Final = (
    "order_id",
    "customer",
    "email",
    "city",
    "country",
    "product",
    "quantity",
    "price",
    "currency",
    "ordered_at",
    "paid",
    "comment",
)
WORDS: Final = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "harbor", "island")
TABLE: Final = """
    CREATE TABLE plain (id INTEGER PRIMARY KEY, source_id INTEGER, key VARCHAR(255), raw {json},
     first_seen TIMESTAMP, last_seen TIMESTAMP, run_id BIGINT)
"""
UPSERT: Final = """
    INSERT INTO plain (source_id, key, raw, first_seen, last_seen, run_id)
    VALUES (1, {0}, {0}, {0}, {0}, 1) ON CONFLICT (source_id, key)
    DO UPDATE SET raw = excluded.raw, last_seen = excluded.last_seen
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the file: rows a second, and the most resident memory in MiB."""

    rows: int
    seconds: float
    memory: float = 0.0

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def write_file(file: Path, megabytes: int) -> int:
    """Write a file of orders and return how many rows it has."""
    some = random.Random(7)  # the same file each time
    most, rows = megabytes * 1024 * 1024, 0
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        while stream.tell() < most:
            for _ in range(BATCH):
                rows += 1
                writer.writerow(order(rows, some))
    return rows


def order(number: int, some: random.Random) -> list[object]:
    """Return one row of the file."""
    who, where, what = some.choice(WORDS), some.choice(WORDS), some.choice(WORDS)
    return [
        f"O-{number:09d}",
        f"{who.title()} {where.title()}",
        f"{who}.{where}{number % 977}@mail.example",
        where.title(),
        some.choice(("DE", "FR", "NO", "PT", "US")),
        f"{what} {some.randrange(100)}",
        some.randrange(1, 20),
        f"{some.random() * 500:.2f}",
        some.choice(("EUR", "USD", "NOK")),
        f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:00:00Z",
        some.choice(("true", "false")),
        " ".join(some.choices(WORDS, k=some.randrange(12))),
    ]


# --- the plain loop, in a process of its own ------------------------------------------------------


def plain(database_url: str, file: Path) -> None:
    """Read the file twice and print the seconds that each took."""
    with closing(_connect(database_url)) as connection:
        sqlite = database_url.startswith("sqlite")
        cursor = connection.cursor()
        table = TABLE.replace("INTEGER PRIMARY KEY", "INTEGER PRIMARY KEY" if sqlite else "SERIAL")
        cursor.execute(table.format(json="TEXT" if sqlite else "JSON"))
        cursor.execute("CREATE UNIQUE INDEX plain_key ON plain (source_id, key)")
        connection.commit()
        for _ in range(2):
            began = time.perf_counter()
            _load(connection, cursor, file, "?" if sqlite else "%s")
            print(time.perf_counter() - began, flush=True)


def _connect(database_url: str) -> Any:
    from sqlalchemy import create_engine  # noqa: PLC0415 - as the application connects

    from webapp.db import engine_options  # noqa: PLC0415

    engine = create_engine(database_url, **engine_options(database_url))
    connection: Any = engine.raw_connection().driver_connection
    if database_url.startswith("sqlite"):
        connection.isolation_level = "DEFERRED"
    return connection


def _load(connection: Any, cursor: Any, file: Path, mark: str) -> None:
    statement = UPSERT.format(mark)
    with file.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        while batch := list(islice(rows, BATCH)):
            at = datetime.now(UTC).isoformat()
            cursor.executemany(statement, [_values(row, at) for row in batch])
            connection.commit()


def _values(row: dict[str, str], at: str) -> tuple[str, ...]:
    return row["order_id"], json.dumps(row), at, at


# --- the job, under a worker of its own -----------------------------------------------------------


def prepare(file: Path) -> None:
    """Set a deployment up with the source, in a process of its own."""
    from flask_migrate import upgrade  # noqa: PLC0415 - reads the settings of this process

    import tasks  # noqa: F401, PLC0415
    from webapp.actors import COMMAND  # noqa: PLC0415
    from webapp.db import transaction  # noqa: PLC0415
    from webapp.sources.service import create_source  # noqa: PLC0415
    from wsgi import app  # noqa: PLC0415

    with app.app_context():
        upgrade()
        with transaction() as session:
            create_source(
                session,
                "orders",
                location=str(file),
                key_field="order_id",
                by=COMMAND,
                now=datetime.now(UTC),
            )


def enqueue() -> None:
    """Enqueue one run of the source, in a process of its own."""
    import tasks  # noqa: F401, PLC0415
    from webapp.actors import COMMAND  # noqa: PLC0415
    from webapp.db import transaction  # noqa: PLC0415
    from webapp.jobs import service  # noqa: PLC0415
    from wsgi import app  # noqa: PLC0415

    with app.app_context(), transaction() as session:
        service.enqueue(session, "etl", {"source": "orders"}, by=COMMAND, now=datetime.now(UTC))


def report() -> None:
    """Print rows and seconds of the newest run, in a process of its own."""
    from sqlalchemy import select  # noqa: PLC0415

    from webapp.db import reading  # noqa: PLC0415
    from webapp.sources.models import EtlRun  # noqa: PLC0415
    from wsgi import app  # noqa: PLC0415

    with app.app_context(), reading() as session:
        run = session.scalars(select(EtlRun).order_by(EtlRun.id.desc()).limit(1)).one()
        if run.ended_at is None or run.status != "succeeded":
            raise SystemExit(f"The run ended as {run.status}.")
        print(json.dumps([run.processed, (run.ended_at - run.started_at).total_seconds()]))


def measure_job(folder: Path, file: Path, environ: dict[str, str]) -> list[Reading]:
    """Read the file twice by the job."""
    run_self("prepare", str(file), environ=environ)
    readings = []
    for _ in range(2):
        run_self("enqueue", environ=environ)
        log = folder / "worker.log"
        with log.open("ab") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "wsgi", "worker", "--burst"],
                cwd=ROOT,
                env=environ,
                stdout=output,
                stderr=output,
            )
            if worker.wait(LONGEST_SECONDS):
                raise SystemExit(log.read_text())
        rows, seconds = json.loads(run_self("report", environ=environ))
        # Of all processes that have ended the one that held most: all others here are small.
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        readings.append(Reading(rows, seconds, most))
    return readings


def run_self(*words: str, environ: dict[str, str]) -> str:
    """Run a part of this file in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", *words],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        timeout=LONGEST_SECONDS,
        check=True,
        text=True,
    )
    return done.stdout


@contextmanager
def setups(only: str) -> Iterator[Iterator[tuple[str, dict[str, str]]]]:
    """Give the settings of each set-up that is asked for; its servers run meanwhile."""

    def each() -> Iterator[tuple[str, dict[str, str]]]:
        if only in {"", "embedded"}:
            yield "embedded", {}
        if only in {"", "servers"}:
            from tests.servers import (  # noqa: PLC0415 - needs what tests need
                PostgresServer,
                RedisServer,
                find_postgres,
                find_redis,
            )

            programs, program = find_postgres(), find_redis()
            if programs is None or program is None:
                print("servers       PostgreSQL or Redis is not installed")
                return
            with PostgresServer(programs) as postgres, RedisServer(program) as redis:
                urls = {"DATABASE_URL": postgres.create_database("bench"), "REDIS_URL": redis.url}
                yield "servers", urls

    yield each()


def main() -> None:
    """Measure and print."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--only", choices=("embedded", "servers"), default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, setups(options.only) as found:
        file = Path(name) / "orders.csv"
        rows = write_file(file, options.megabytes)
        print(f"{rows:,} rows, {file.stat().st_size / 1024**2:,.0f} MiB")
        print(f"{'':14}{'first reading':>32}{'second reading':>32}{'memory':>12}")
        for title, urls in found:
            folder = Path(name) / title
            folder.mkdir()
            environ = os.environ | urls
            environ |= {"INSTANCE_DIR": str(folder), "LOG_LEVEL": "WARNING", "WORKERS": "1"}
            ours = measure_job(folder, file, environ)
            url = urls.get("DATABASE_URL") or f"sqlite:///{folder / 'plain.db'}"
            told = run_self("plain", url, str(file), environ=environ).split()
            theirs = [Reading(rows, float(seconds)) for seconds in told]
            cells = [
                f"{our.rate:,.0f}/s, {our.rate / their.rate:.2f} x {their.rate:,.0f}/s"
                for our, their in zip(ours, theirs, strict=True)
            ]
            memory = max(reading.memory for reading in ours)
            print(f"{title:14}{cells[0]:>32}{cells[1]:>32}{memory:>8,.0f} MiB", flush=True)


PARTS: Final = {
    "prepare": lambda file: prepare(Path(file)),
    "enqueue": enqueue,
    "report": report,
    "plain": lambda url, file: plain(url, Path(file)),
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        PARTS[sys.argv[2]](*sys.argv[3:])
    else:
        main()

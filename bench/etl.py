"""Rows a second of an ``etl`` run, beside a plain loop of ``csv`` and ``executemany``.

Both read one made-up file, and write each row under its key into the same database, 1,000 rows in a
transaction, each in a process of its own; the plain loop keeps the row as JSON and nothing else.
The run goes twice: into an empty table, and again over what stands.  Peak memory is that of the
process, as the system counts it (Linux).

    python bench/etl.py [--megabytes 1000] [--database URL] [--folder DIR] [--profile]

Compare lines of one run only.  ``--profile`` says where the time of the first run goes.
"""

import cProfile
import csv
import json
import multiprocessing
import os
import pstats
import random
import resource
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEGABYTE: Final = 1_000_000
BATCH: Final = 1000
FIELDS: Final = ("id", "name", "email", "city", "country", "amount", "quantity", "created_at", "ok")
CITIES: Final = ("New York", "São Paulo", "Berlin", "Lagos", "Osaka", "Quito")


class Work(Protocol):
    """What is measured."""

    __name__: str

    def __call__(self, url: str, file: Path, *, profile: bool) -> float:
        """Do it, and return the seconds that it took once all was ready."""


def make_file(file: Path, megabytes: int) -> int:
    """Write a file of about so many megabytes; return its rows."""
    chance = random.Random(1)
    size = rows = 0
    with file.open("w", newline="") as stream:
        stream.write(",".join(FIELDS) + "\n")
        while size < megabytes * MEGABYTE:
            word = f"{chance.getrandbits(40):x}"
            line = (
                f'{rows:010},"Name {word}, Inc.",{word}@example.com,{chance.choice(CITIES)},DE,'
                f"{chance.random() * 1000:.2f},{rows % 97},2026-11-22T12:{rows % 60:02}:00Z,true\n"
            )
            stream.write(line)
            size += len(line)
            rows += 1
    return rows


def ingest(url: str, file: Path, *, profile: bool) -> float:
    """Run the job once over the file, in this process."""
    from tasks.application import application  # noqa: PLC0415 - reads the environment
    from tasks.work import run  # noqa: PLC0415
    from webapp.actors import COMMAND  # noqa: PLC0415
    from webapp.clock import now  # noqa: PLC0415
    from webapp.db import transaction  # noqa: PLC0415
    from webapp.errors import Invalid  # noqa: PLC0415
    from webapp.jobs.broker import provide_broker  # noqa: PLC0415
    from webapp.jobs.service import enqueue  # noqa: PLC0415
    from webapp.sources.service import create_source  # noqa: PLC0415

    del url
    app = application()
    provide_broker(None)
    with app.app_context():
        try:
            with transaction() as session:
                create_source(
                    session, "bench", location=str(file), key_field="id", by=COMMAND, now=now()
                )
        except Invalid:
            pass  # the second run
        with transaction() as session:
            arguments = {"source": "bench", "batch_size": BATCH}
            job_id = enqueue(session, "etl", arguments, by=COMMAND, now=now()).id
    watch = cProfile.Profile()
    if profile:
        watch.enable()
    began = time.perf_counter()
    run(app, job_id, worker="bench")
    seconds = time.perf_counter() - began
    if profile:
        watch.disable()
        pstats.Stats(watch).sort_stats("tottime").print_stats(25)
    return seconds


def copy_plainly(url: str, file: Path, *, profile: bool) -> float:
    """Read and upsert with no more than it takes."""
    from sqlalchemy import create_engine  # noqa: PLC0415

    from webapp.db import engine_options  # noqa: PLC0415

    del profile
    engine = create_engine(url, **engine_options(url))
    connection = engine.raw_connection()
    cursor = connection.cursor()
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    cursor.execute("CREATE TABLE plain (key VARCHAR(255) PRIMARY KEY, raw TEXT NOT NULL)")
    upsert = (
        f"INSERT INTO plain (key, raw) VALUES ({mark}, {mark}) "  # noqa: S608 - our own text
        "ON CONFLICT (key) DO UPDATE SET raw = excluded.raw"
    )
    began = time.perf_counter()
    with file.open(newline="") as stream:
        for rows in batches(csv.DictReader(stream)):
            if engine.dialect.name == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(upsert, [(row["id"], json.dumps(row)) for row in rows])
            connection.commit()
    return time.perf_counter() - began


def batches(rows: Iterator[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    """Cut rows into batches."""
    while batch := list(islice(rows, BATCH)):
        yield batch


def _measured(work: Work, url: str, file: Path, answer: Any, *, profile: bool) -> None:
    seconds = work(url, file, profile=profile)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((seconds, peak))


def measure(work: Work, url: str, file: Path, *, profile: bool = False) -> tuple[float, float]:
    """Do work in a process of its own; return its seconds and its peak memory in MiB."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(
        target=_measured, args=(work, url, file, answer), kwargs={"profile": profile}
    )
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")
    seconds, peak = answer.get()
    return seconds, peak


def set_up(folder: Path, url: str) -> None:
    """Configure the program for this measurement, and make its tables."""
    os.environ |= {
        "ENVIRONMENT": "test",
        "INSTANCE_DIR": str(folder),
        "DATABASE_URL": url,
        "LOG_LEVEL": "ERROR",
    }
    import flask_migrate  # noqa: PLC0415

    from tasks.application import application  # noqa: PLC0415 - reads the environment

    with application().app_context():
        flask_migrate.upgrade()


def main() -> None:
    """Print the table."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--database", help="URL of an empty database; SQLite without it")
    parser.add_argument("--folder", type=Path, help="where the file and the database are made")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        file = folder / "rows.csv"
        rows = make_file(file, options.megabytes)
        print(f"{rows:,} rows, {file.stat().st_size / MEGABYTE:,.0f} MB\n")
        url = options.database or f"sqlite:///{folder / 'bench.db'}"
        set_up(folder, url)
        plain, plain_peak = measure(copy_plainly, url, file)
        first, first_peak = measure(ingest, url, file, profile=options.profile)
        again, again_peak = measure(ingest, url, file)
        print(f"{'':<28} {'rows/s':>9} {'of plain':>9} {'peak MiB':>9}")
        for title, seconds, peak in (
            ("plain csv and executemany", plain, plain_peak),
            ("etl, all new", first, first_peak),
            ("etl, all unchanged", again, again_peak),
        ):
            print(f"{title:<28} {rows / seconds:>9,.0f} {plain / seconds:>9.0%} {peak:>9,.0f}")


if __name__ == "__main__":
    main()

"""What a change of flags costs: compiling them, swapping them, and until others see it.

    python bench/flags_snapshot.py [--flags 2000] [--changes 30]

Compiles so many flags, measures how long a reader waits at the most while the snapshot is swapped
beside it (and while nothing happens), and changes a flag again and again while three other
processes watch: embedded, where they look at the revision every second, and with Redis, where they
are told.  Needs redis-server for the second.
"""

import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns, perf_counter, sleep

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import flask_migrate
from flask import Flask

from loopback import HOST
from tests.servers import free_port
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import after_commit, db, reading, transaction
from webapp.flags import evaluate, is_enabled
from webapp.flags.feeds import DatabaseFeed
from webapp.flags.service import change_flag, create_flag
from webapp.flags.snapshot import flag_store
from webapp.flags.tables import FlagTables
from webapp.flags.values import (
    NEVER,
    Condition,
    FlagChanges,
    FlagDraft,
    FlagSet,
    Operator,
    Rule,
    Variant,
)
from webapp.settings import Settings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
WATCHERS = 3
ALLOWED_MS = 200
MS = 1e-6
WATCHED = "bench.watched"

# Prints when it sees each further hundredth of a percent, by the clock that all processes share.
WATCHER = r"""
import sys, time
from webapp.app import create_app
from webapp.flags.snapshot import flag_store
from webapp.settings import Settings

create_app(Settings.from_environment())
seen = flag_store().current().found.revision
print("ready", flush=True)
while True:
    revision = flag_store().current().found.revision
    if revision != seen:
        print(revision, time.monotonic_ns(), flush=True)
        seen = revision
    time.sleep(0.0005)
"""


def drafts(count: int) -> list[FlagDraft]:
    """Return flags such as a deployment has: lists and a rule, an override here and there."""
    german = Condition(attribute="country", operator=Operator.IN, values=("DE", "AT"))
    adult = Condition(attribute="age", operator=Operator.GTE, values=("18",))
    return [
        FlagDraft(
            name=f"bench.flag{number}",
            enabled=True,
            percentage=float(number % 101),
            whitelist=tuple(f"user-{item}" for item in range(number % 50)),
            environment_overrides={"staging": True} if number % 5 == 0 else {},
            rules=(Rule(name="some", conditions=(german, adult), percentage=100.0),),
            variants=(Variant(name="a", weight=1), Variant(name="b", weight=1))
            if number % 10 == 0
            else (),
        )
        for number in range(count)
    ]


@contextmanager
def application(**environ: str) -> Iterator[Flask]:
    """Set up the application on a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"INSTANCE_DIR": folder, "LOG_LEVEL": "ERROR", **environ}
        app = create_app(Settings.from_environment())
        with app.app_context():
            flask_migrate.upgrade()
            yield app
            store = app.extensions["flag_store"]
            store.stop()
            if store.usage:
                store.usage.stop()
            db.engine.dispose()


def compiling(count: int) -> None:
    """Print what it takes to read all flags from the database, and to compile them.

    A process compiles each when it is asked for it next; here all are asked for at once.
    """
    feed, usage = DatabaseFeed(reading), flag_store().usage
    started = perf_counter()
    found = feed.fetch(NEVER)
    read = (perf_counter() - started) * 1000
    if found is None:
        sys.exit("the database holds no flags")
    times = []
    for _ in range(7):
        started = perf_counter()
        table = FlagTables(found, "production", usage).table(None)
        for name in found.flags:
            table.find(name)
        times.append((perf_counter() - started) * 1000)
    best = min(times)
    print(f"{count:,} flags: read {read:.0f} ms, compiled {best:.0f} ms (best of {len(times)})")
    print(f"  compiling takes {best / ALLOWED_MS:.2f} of the {ALLOWED_MS} ms that it may take")


def longest_wait(seconds: float) -> float:
    """Evaluate for some time, and return the longest time between two answers in milliseconds."""
    until, longest, before = perf_counter() + seconds, 0.0, perf_counter()
    while before < until:
        is_enabled("bench.flag7", "user-1")
        now = perf_counter()
        longest, before = max(longest, now - before), now
    return longest * 1000


def swapping(seconds: float = 3.0) -> None:
    """Print how long a reader waits at the most, with and without swaps beside it."""
    is_enabled("bench.flag7", "user-1")
    stopped, swaps = threading.Event(), [0]

    def swap() -> None:
        store = flag_store()
        while not stopped.wait(0.05):
            found = store.current().found
            store._swap(FlagSet(found.revision, dict(found.flags), found.segments))  # noqa: SLF001
            swaps[0] += 1

    idle = longest_wait(seconds)
    swapper = threading.Thread(target=swap)
    swapper.start()
    busy = longest_wait(seconds)
    stopped.set()
    swapper.join()
    print(f"longest wait of a reader: {idle:.1f} ms alone, {busy:.1f} ms beside {swaps[0]} swaps")


def spreading(title: str, changes: int) -> None:
    """Print how long other processes took to see each change."""
    with transaction() as session:
        create_flag(session, FlagDraft(name=WATCHED), by=COMMAND, now=NOW, reason="r")
    with ExitStack() as stack:
        watchers = [stack.enter_context(watching()) for _ in range(WATCHERS)]
        for watcher in watchers:
            watcher.stdout.readline()
        # Until all have subscribed.
        sleep(1.5)
        took: list[float] = []
        stored: list[int] = []
        for number in range(changes):
            with transaction() as session:
                # Before what the commit has this process do itself.
                after_commit(session, lambda: stored.append(monotonic_ns()))
                share = FlagChanges(percentage=(number + 1) / 100)
                change_flag(session, WATCHED, share, by=COMMAND, now=NOW, reason="r")
            for watcher in watchers:
                _, seen = watcher.stdout.readline().split()
                took.append((int(seen) - stored[-1]) * MS)
            sleep(0.1 + number % 7 / 10)
    took.sort()
    print(
        f"{title}: {len(took)} sightings after {took[0]:.0f} ms at the earliest,"
        f" {statistics.median(took):.0f} ms at the median, {took[-1]:.0f} ms at the latest"
    )


@contextmanager
def watching() -> Iterator["subprocess.Popen[str]"]:
    """Run a process that tells when it sees a change."""
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHER],
        cwd=Path(__file__).resolve().parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis of our own, and yield its address."""
    port = free_port()
    command = [
        "redis-server",
        "--port",
        str(port),
        "--bind",
        HOST,
        "--save",
        "",
        "--daemonize",
        "no",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        sleep(0.5)
        yield f"redis://{HOST}:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    """Measure all three."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flags", type=int, default=2_000)
    parser.add_argument("--changes", type=int, default=30)
    arguments = parser.parse_args()
    with application():
        with transaction() as session:
            for draft in drafts(arguments.flags):
                create_flag(session, draft, by=COMMAND, now=NOW, reason="r")
        evaluate("bench.flag7", "user-1")
        # As in the web process, see gunicorn.conf.py.
        gc.collect()
        gc.freeze()
        compiling(arguments.flags)
        swapping()
        spreading("embedded, a look a second", arguments.changes)
    if shutil.which("redis-server") is None:
        print("with Redis: redis-server is not installed")
        return
    with redis_server() as url, application(REDIS_URL=url, QUEUE_BACKEND="sqlite"):
        spreading("with Redis", arguments.changes)


if __name__ == "__main__":
    main()

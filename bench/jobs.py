"""How fast jobs go from enqueue to their end, beside the queues of others on the same servers.

Two worker processes each; the body of a job is one write of 16 bytes.  Our set-ups are the embedded
one (SQLite) and that of production (PostgreSQL and Redis).  Run it from the project's folder:

    python bench/jobs.py [--peers PYTHON ...] [--jobs 2000] [--only NAME ...]

``--peers`` measures the queues of requirements-queues.txt with the interpreter that has them.  The
servers are those of the tests: started here, and never waiting for the disk.  SQLite does wait for
it, so what one flush takes is printed; ``--folder`` puts its file elsewhere.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import marks
from queues import Queue

ROOT: Final = Path(__file__).resolve().parent.parent
OURS: Final = {"switchyard, embedded": "sqlite", "switchyard, servers": "servers"}
#: The name in the table, the package on the index, the module in queues/, what it is given.
PEERS: Final = {
    "huey on SQLite": ("huey", "plain_huey", "sqlite"),
    "huey on Redis": ("huey", "plain_huey", "redis"),
    "rq": ("rq", "rq_pool", "redis"),
    "celery, acks_late": ("celery", "celery_late", "redis"),
    "dramatiq": ("dramatiq", "dramatiq_redis", "redis"),
    "procrastinate": ("procrastinate", "procrastinate_postgres", "postgres"),
}
JOBS: Final = 2_000
WARM: Final = 100
SINGLES: Final = 60
TOGETHER: Final = 100
# Workers that ask an idle queue now and then are met at every point of their rounds.
IDLE_SECONDS: Final = (0.3, 0.41, 0.52, 0.63)
LONGEST_SECONDS: Final = 300
STOP_SECONDS: Final = 40
NOT_INSTALLED: Final = "not installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one queue came to; without a version nothing was measured, and ``differs`` says why.

    Rates are jobs a second, from the first enqueue; that of a backlog is from when workers that
    were held begin on jobs that all wait already.  Waits are milliseconds from the enqueue to the
    start on an idle queue; memory is MiB for each worker process, shared pages shared out.
    """

    name: str
    version: str | None = None
    enqueued: float = 0.0
    done: float = 0.0
    done_together: float = 0.0
    backlog: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    memory: float = 0.0
    differs: str = ""


# --- one queue, in a process of its own -----------------------------------------------------------


def measure(name: str, module: str, package: str, jobs: int) -> Figures:
    """Measure one queue in this process."""
    try:
        installed = version(package) if package else "this"
    except PackageNotFoundError:
        return Figures(name=name, differs=NOT_INSTALLED)
    there = import_module(f"queues.{module}")
    with there.queue() as queue, workers(queue) as processes:
        run(queue, WARM, 1)
        waits = [wait_once(queue, turn) for turn in range(SINGLES)]
        enqueued, done = run(queue, jobs, 1)
        together = run(queue, jobs, TOGETHER)[1] if queue.several else 0.0
        backlog = drain(queue, jobs, processes)
        memory = memory_of(processes)
    waits.sort()
    return Figures(
        name=name,
        version=installed,
        enqueued=enqueued,
        done=done,
        done_together=together,
        backlog=backlog,
        p50=waits[len(waits) // 2] * 1000,
        p99=waits[int(len(waits) * 0.99)] * 1000,
        memory=memory,
        differs=there.DIFFERS,
    )


@contextmanager
def workers(queue: Queue) -> Iterator[list[int]]:
    """Run the workers of a queue, each in a process group of its own."""
    with (Path(os.environ["BENCH_FOLDER"]) / "worker.log").open("ab") as log:
        processes = [
            subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
            for command in queue.workers
        ]
        try:
            yield [process.pid for process in processes]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of a process, and kill its group where it does not come."""
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


def run(queue: Queue, jobs: int, together: int) -> tuple[float, float]:
    """Enqueue so many jobs and wait for all of them; return both rates."""
    before = begin(queue)
    started = time.perf_counter()
    queue.send(jobs, together)
    enqueued = time.perf_counter() - started
    wait_for_end(queue, before, jobs)
    return jobs / enqueued, jobs / (time.perf_counter() - started)


def drain(queue: Queue, jobs: int, groups: Sequence[int]) -> float:
    """Enqueue so many jobs while the workers are held, let them go, and return their rate."""
    before = begin(queue)
    hold(queue, groups)
    try:
        queue.send(jobs, TOGETHER if queue.several else 1)
    finally:
        signal_all(groups, signal.SIGCONT)
    started = time.perf_counter()
    wait_for_end(queue, before, jobs)
    return jobs / (time.perf_counter() - started)


def hold(queue: Queue, groups: Sequence[int]) -> None:
    """Hold the workers, none of them in the middle of a transaction that others wait for."""
    signal_all(groups, signal.SIGSTOP)
    while queue.locked and queue.locked():
        signal_all(groups, signal.SIGCONT)
        time.sleep(0.05)
        signal_all(groups, signal.SIGSTOP)


def signal_all(groups: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to the process groups of the workers, which were started here."""
    for group in groups:
        os.killpg(group, number)


def begin(queue: Queue) -> int:
    """Forget the marks of the jobs before, and return how many of them are settled."""
    marks.clear()
    return queue.settled() if queue.settled else 0


def wait_for_end(queue: Queue, before: int, jobs: int) -> None:
    """Wait until so many jobs have begun and, where the queue tells, are settled."""
    wait_for(jobs)
    while queue.settled and queue.settled() - before < jobs:
        time.sleep(0.005)


def wait_once(queue: Queue, turn: int) -> float:
    """Return for how long one job waits on an idle queue."""
    time.sleep(IDLE_SECONDS[turn % len(IDLE_SECONDS)])
    marks.clear()
    queue.send(1, 1)
    wait_for(1)
    return marks.waits()[0]


def wait_for(jobs: int) -> None:
    """Wait until so many jobs have begun."""
    until = time.monotonic() + LONGEST_SECONDS
    while marks.count() < jobs:
        if time.monotonic() > until:
            raise TimeoutError(f"{marks.count()} of {jobs} jobs began in {LONGEST_SECONDS} s")
        time.sleep(0.002)


def memory_of(pids: Sequence[int]) -> float:
    """Return MiB for each of two workers: all processes of their groups, divided by two."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _group(entry) in pids:
            rollup = (entry / "smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0])
    return total / 1024 / 2


def _group(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:
        return 0


# --- all queues, one after another ----------------------------------------------------------------


def measure_apart(python: Path, name: str, environ: Mapping[str, str], jobs: int) -> Figures:
    """Measure one queue in a process of its own."""
    done = subprocess.run(
        [str(python), __file__, "--jobs", str(jobs), "--measure", name],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"} | dict(environ),
        capture_output=True,
        check=False,
        text=True,
        timeout=3 * LONGEST_SECONDS,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return Figures(name=name, differs=f"failed: {lines[-1]}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def surroundings(kind: str, folder: Path | None) -> Iterator[dict[str, str]]:
    """Start what one queue needs, and yield the environment that names it."""
    # Only where servers are started: those who measure peers do not have these packages.
    from tests.servers import PostgresServer, RedisServer, find_postgres, find_redis  # noqa: PLC0415

    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
        environ = {"BENCH_FOLDER": place, marks.FILE: f"{place}/marks"}
        redis, programs = find_redis(), find_postgres()
        if kind in {"redis", "servers"} and redis:
            environ["REDIS_URL"] = stack.enter_context(RedisServer(redis)).url
        if kind in {"postgres", "servers"} and programs:
            url = stack.enter_context(PostgresServer(programs)).create_database("bench")
            environ |= {"DATABASE_URL": url, "POSTGRES_URL": url.replace("+psycopg", "")}
        yield environ


def measure_ours(name: str, folder: Path | None, jobs: int) -> Figures:
    """Measure the console's jobs in a migrated deployment."""
    with surroundings(OURS[name], folder) as environ:
        environ |= {
            "ENVIRONMENT": "test",
            "REQUEST_LIMITS": "false",
            "INSTANCE_DIR": environ["BENCH_FOLDER"],
            "SECRET_KEY": "no secret: it lives as long as the benchmark",
            "JOB_MODULES": "queues.switchyard",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
        }
        subprocess.run(
            [str(Path(sys.executable).parent / "flask"), "--app", "wsgi", "db", "upgrade"],
            cwd=ROOT,
            env=os.environ | environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return measure_apart(Path(sys.executable), name, environ, jobs)


def measure_peer(name: str, pythons: Sequence[Path], folder: Path | None, jobs: int) -> Figures:
    """Measure the queue of others with the first interpreter that has it."""
    figures = Figures(name=name, differs=NOT_INSTALLED)
    for python in pythons:
        with surroundings(PEERS[name][2], folder) as environ:
            figures = measure_apart(python, name, environ, jobs)
        if figures.differs != NOT_INSTALLED:
            break
    return figures


def flush_ms(folder: Path | None) -> float:
    """Return how many milliseconds the disk takes to make a write durable."""
    turns = 50
    with tempfile.TemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        for _ in range(turns):
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
        return (time.perf_counter() - started) / turns * 1000


HEAD: Final = (
    f"{'':22}{'version':>9}{'done/s':>9}{'by 100s':>9}{'backlog':>9}{'enq./s':>9}"
    f"{'p50 ms':>9}{'p99 ms':>9}{'MiB':>7}"
)


def line(figures: Figures) -> str:
    """Return one queue as a line of the table."""
    if figures.version is None:
        return f"{figures.name:22} {figures.differs}"
    together = f"{figures.done_together:9,.0f}" if figures.done_together else f"{'':9}"
    return (
        f"{figures.name:22}{figures.version:>9}{figures.done:9,.0f}{together}"
        f"{figures.backlog:9,.0f}{figures.enqueued:9,.0f}{figures.p50:9.1f}{figures.p99:9.1f}{figures.memory:7.0f}"
        f"   {figures.differs}"
    )


def ratios(ours: Figures, peers: Sequence[Figures]) -> str:
    """Say how many times faster ours are done than those of each peer."""
    words = []
    for peer in peers:
        if peer.done and peer.backlog:
            of = [ours.backlog / peer.backlog]
            if peer.done_together:
                of.insert(0, ours.done_together / peer.done_together)
            others = ", ".join(f"{times:.1f} x" for times in of)
            words.append(f"{ours.done / peer.done:.1f} x {peer.name} ({others})")
    return f"{ours.name}, enqueued one by one (by 100s where both can, a backlog): " + ", ".join(
        words
    )


def main() -> None:
    """Measure one and print it for a program, or all and print them for people."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="append", type=Path, metavar="PYTHON")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--only", action="append", choices=[*OURS, *PEERS], metavar="NAME")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", choices=[*OURS, *PEERS], metavar="NAME")
    given = parser.parse_args()
    if name := given.measure:
        package, module, _ = PEERS.get(name, ("", "switchyard", ""))
        print(json.dumps(asdict(measure(name, module, package, given.jobs))))
        return
    print(f"a flush to the disk takes {flush_ms(given.folder):.1f} ms, {given.jobs} jobs\n{HEAD}")
    wanted = given.only or [*OURS, *PEERS]
    ours, peers = [], []
    for name in wanted:
        if name in OURS:
            ours.append(measure_ours(name, given.folder, given.jobs))
            print(line(ours[-1]), flush=True)
        elif given.peers:
            peers.append(measure_peer(name, given.peers, given.folder, given.jobs))
            print(line(peers[-1]), flush=True)
    for figures in ours:
        if peers and figures.done:
            print(ratios(figures, peers))


if __name__ == "__main__":
    main()

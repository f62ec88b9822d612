"""The folder of counts: emptied where nobody counts, never under somebody who does, and bounded."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from webapp.telemetry.folder import begin, merge_ended, reading

# Counts, says so, and counts once more for each line that it is sent.
PROGRAM = """
import sys
from prometheus_client import Counter, Gauge, Histogram
calls = Counter("calls", "Calls.", ("kind",))
took = Histogram("took", "Seconds.", buckets=(1, 2))
Gauge("level", "Now.", multiprocess_mode="all").set(7)
number = int(sys.argv[1])
for _ in sys.stdin:
    calls.labels("all").inc(number)
    calls.labels(f"of {number % 2}").inc(0.5)
    took.observe(number)
    print("counted", flush=True)
"""


def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class Counting:
    """A real process that counts in a folder."""

    def __init__(self, path: Path, number: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(number)],
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def count(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("count\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "counted\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def counting(path: Path, numbers: range) -> Iterator[list[Counting]]:
    processes = [Counting(path, number) for number in numbers]
    try:
        for process in processes:
            process.count()
        yield processes
    finally:
        for process in processes:
            process.kill()


def collected(path: Path) -> dict[tuple[str, str], float]:
    """Return what a scrape finds, but for gauges."""
    with reading(path):
        everybody = MultiProcessCollector(None, str(path))  # type: ignore[no-untyped-call]
        families = everybody.collect()  # type: ignore[no-untyped-call]
        return {
            (sample.name, str(sorted(sample.labels.items()))): sample.value
            for family in families
            if family.type != "gauge"
            for sample in family.samples
        }


def files_in(path: Path) -> list[str]:
    return sorted(file.name.split("_")[0] for file in path.glob("*.db"))


def test_it_is_made(tmp_path: Path) -> None:
    begin(tmp_path / "a" / "b", me=1)
    assert (tmp_path / "a" / "b").is_dir()


def test_what_ended_processes_counted_is_removed_where_nobody_is_left(tmp_path: Path) -> None:
    dead, me = gone(), os.getpid()
    for name in (f"counter_{dead}.db", f"gauge_livesum_{dead}.db", f"histogram_{me}.db"):
        (tmp_path / name).touch()
    (tmp_path / "readme.txt").touch()
    begin(tmp_path, me=me)
    assert {path.name for path in tmp_path.iterdir()} == {f"histogram_{me}.db", "readme.txt"}


def test_nothing_is_removed_while_another_process_counts(tmp_path: Path) -> None:
    kept = f"counter_{os.getpid()}.db"
    for name in (f"counter_{gone()}.db", kept):
        (tmp_path / name).touch()
    begin(tmp_path, me=gone())
    assert {path.name for path in tmp_path.iterdir()} == {kept, "counter_ended1.db"}


def test_what_ended_processes_counted_is_added_up_into_one_file_of_each_kind(
    tmp_path: Path,
) -> None:
    with counting(tmp_path, range(1, 7)) as processes:
        before = collected(tmp_path)
        assert before["calls_total", "[('kind', 'all')]"] == 21
        assert before["took_bucket", "[('le', '2.0')]"] == 2
        assert len(files_in(tmp_path)) == 3 * 6
        living, *others = processes
        for process in others:
            process.kill()
        assert collected(tmp_path) == before
        # Three of the one that lives; gauges of the others are gone.
        assert files_in(tmp_path) == ["counter", "counter", "gauge", "histogram", "histogram"]
        # What goes on counting is not lost, and neither is what ends later.
        living.count()
        with counting(tmp_path, range(10, 12)):
            pass
        after = collected(tmp_path)
        assert after["calls_total", "[('kind', 'all')]"] == 21 + 1 + 21
        assert after["took_count", "[]"] == 6 + 1 + 2
        assert after["took_sum", "[]"] == 21 + 1 + 21
        assert len(files_in(tmp_path)) == 5


def test_one_that_starts_where_others_count_adds_up_too(tmp_path: Path) -> None:
    with counting(tmp_path, range(1, 4)) as (_, second, third):
        before = collected(tmp_path)
        second.kill()
        third.kill()
        begin(tmp_path, me=os.getpid())
        assert files_in(tmp_path) == ["counter", "counter", "gauge", "histogram", "histogram"]
        assert collected(tmp_path) == before
    begin(tmp_path, me=os.getpid())
    assert files_in(tmp_path) == []


def test_a_file_that_nobody_lived_to_begin_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / f"counter_{gone()}.db").touch()
    with counting(tmp_path, range(1, 2)):
        assert collected(tmp_path)["calls_total", "[('kind', 'all')]"] == 1
    merge_ended(tmp_path)
    assert files_in(tmp_path) == ["counter", "histogram"]


class Killed(BaseException):
    """The process is gone in the middle of its work."""


def killed_after(steps: int, real: Callable[..., Any], taken: list[int]) -> Callable[..., Any]:
    def act(*arguments: Any, **named: Any) -> Any:
        if len(taken) >= steps:
            raise Killed
        taken.append(1)
        return real(*arguments, **named)

    return act


def test_wherever_adding_up_is_cut_off_nothing_is_lost_or_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    for numbers in (range(1, 3), range(3, 5)):
        with counting(told, numbers):
            expected = collected(told)
    cut = 0
    for steps in range(100):
        path = tmp_path / str(steps)
        shutil.copytree(told, path)
        taken: list[int] = []
        with monkeypatch.context() as dying:
            for name in ("rename", "unlink"):
                dying.setattr(Path, name, killed_after(steps, getattr(Path, name), taken))
            try:
                merge_ended(path)
            except Killed:
                cut += 1
            else:
                break
        assert collected(path) == expected, f"cut off after {steps} steps"
    assert cut > 10

"""The folder in which the processes of a host count: one file for each kind and process.

prometheus_client writes there where ``PROMETHEUS_MULTIPROC_DIR`` names it.  What a process has
counted stays when it ends, for a sum that went down would look like a new beginning: the files of
those that have ended are added up into one of each kind, and a host begins anew only where none of
those that wrote there is alive.
"""

import fcntl
import os
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

from webapp.logs import get_logger
from webapp.places import process_exists

log = get_logger(__name__)

_FILE = re.compile(r"([a-z]+)(?:_[a-z]+)?_(\d+)\.db")
# What those that have ended counted, and by how many mergings that came about.
_SUM = re.compile(r"([a-z]+)_ended(\d+)\.db")
# A file that goes into the sum of that number; where that stands it has.
_ASIDE = re.compile(r"(([a-z]+)_.+\.db)\.aside(\d+)")


def folder() -> Path | None:
    """Return the folder of this process, None where it counts for itself."""
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(path) if path else None


def begin(path: Path, *, me: int) -> None:
    """Make the folder, and empty it unless another living process than ``me`` writes there."""
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path, fcntl.LOCK_EX):
        others = {file: pid for file, (_, pid) in _written(path).items() if pid != me}
        if any(process_exists(pid) for pid in others.values()):
            _merge_ended(path)
            return
        for file in (*others, *_matching(path, _SUM), *_matching(path, _ASIDE)):
            file.unlink(missing_ok=True)


def merge_ended(path: Path) -> None:
    """Add up what the processes that have ended counted; what they said of the present goes.

    Where somebody reads or adds up at this moment, the next time will do.
    """
    with suppress(BlockingIOError), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _merge_ended(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read the folder while nobody adds up: each count is there once."""
    merge_ended(path)
    with _locked(path, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    # Of the folder itself; let go of when it is closed, also by a process that is killed.
    opened = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(opened, how)
        yield
    finally:
        os.close(opened)


def _written(path: Path) -> dict[Path, tuple[str, int]]:
    """Return kind and process of each file that a process writes."""
    return {file: (found[1], int(found[2])) for file, found in _matching(path, _FILE).items()}


def _matching(path: Path, pattern: re.Pattern[str]) -> dict[Path, re.Match[str]]:
    found = ((file, pattern.fullmatch(file.name)) for file in path.iterdir())
    return {file: match for file, match in found if match}


def _merge_ended(path: Path) -> None:
    _finish(path)
    ended: defaultdict[str, list[Path]] = defaultdict(list)
    for file, (kind, pid) in _written(path).items():
        if not process_exists(pid):
            ended[kind].append(file)
    for file in ended.pop("gauge", ()):
        file.unlink()
    for kind, files in ended.items():
        _merge(path, kind, files)


def _merge(path: Path, kind: str, files: list[Path]) -> None:
    """Put a new sum in place of the files and the one before, by one step that is done or not.

    The files are set aside first, under the number of the new sum: so a process that is killed
    meanwhile leaves neither a count twice nor one that is lost, see :func:`_finish`.
    """
    sums = _sums(path, kind)
    number = max(sums, default=0) + 1
    parts = [*files, *sums.values()]
    draft = path / f"{kind}.draft"
    draft.unlink(missing_ok=True)
    _write(draft, _added_up(parts))
    asides = [part.rename(part.with_name(f"{part.name}.aside{number}")) for part in parts]
    draft.rename(path / f"{kind}_ended{number}.db")
    for aside in asides:
        aside.unlink()


def _finish(path: Path) -> None:
    """Mend what a process left that was killed while it added up."""
    for aside, found in _matching(path, _ASIDE).items():
        name, kind, number = found[1], found[2], int(found[3])
        if max(_sums(path, kind), default=0) >= number:
            aside.unlink()
        else:
            aside.rename(path / name)


def _sums(path: Path, kind: str) -> dict[int, Path]:
    """Return the sums of a kind by their numbers: one, or none yet."""
    found = _matching(path, _SUM).items()
    return {int(match[2]): file for file, match in found if match[1] == kind}


def _added_up(files: Iterable[Path]) -> dict[str, float]:
    totals: defaultdict[str, float] = defaultdict(float)
    for file in files:
        for key, value in _values(file):
            totals[key] += value
    return totals


def _values(file: Path) -> list[tuple[str, float]]:
    """Return what a file counts; one that its process did not live to begin counts nothing."""
    try:
        found = MmapedDict.read_all_values_from_file(file)  # type: ignore[no-untyped-call]
        return [(key, value) for key, value, _, _ in found]
    except (RuntimeError, UnicodeDecodeError, struct.error) as error:
        log.warning("metrics_file_unreadable", file=file.name, error=type(error).__name__)
        return []


def _write(file: Path, totals: dict[str, float]) -> None:
    values = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    for key, value in totals.items():
        values.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    values.close()  # type: ignore[no-untyped-call]

"""The vocabulary of sources: kinds, statuses, and what a reader hands to the service.

Nothing here touches a file, the database or the clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

MAX_NAME = 64
REJECTED_CHARACTERS = 2000


class SourceKind(StrEnum):
    """How a source is read."""

    CSV = "csv"


class RunStatus(StrEnum):
    """Where a run stands; a waiting one goes on when its job is tried again."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the next row begins, in which version of the file.

    ``offset`` counts bytes from 0, ``line`` lines from 1; ``size`` in bytes and ``modified`` in
    nanoseconds tell one version of the file from another.
    """

    offset: int
    line: int
    size: int
    modified: int

    @classmethod
    def unopened(cls) -> Self:
        """Return the place of a run whose file nobody has opened yet."""
        return cls(offset=0, line=1, size=0, modified=0)

    def same_version(self, other: "Checkpoint") -> bool:
        """Tell whether both are places in the same version of the file."""
        return (self.size, self.modified) == (other.size, other.modified)

    def resumed(self, saved: Mapping[str, Any] | None) -> "Checkpoint":
        """Return where to go on: the saved place, or this one where the file has changed since.

        A place in another version means nothing; starting over is safe, since rows that stand
        already are only counted as unchanged.
        """
        if saved is None:
            return self
        place = self.from_json(saved)
        return place if place.same_version(self) else self

    def to_json(self) -> dict[str, int]:
        """Return what the ledger keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_json` wrote."""
        return cls(saved["offset"], saved["line"], saved["size"], saved["modified"])


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read; ``line`` is the line on which it begins, ``text`` its raw text."""

    line: int
    fields: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that cannot become a record, and why; made with :meth:`of`."""

    line: int
    error: str
    text: str

    @classmethod
    def of(cls, line: int, error: str, text: str) -> Self:
        """Keep the text as it can be stored and shown: short, without NUL and its line's end."""
        kept = text[:REJECTED_CHARACTERS].rstrip("\r\n").replace("\0", "\\x00")
        return cls(line, error, kept)


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a source; ``end`` is where the next batch begins."""

    columns: Sequence[str]
    rows: Sequence[Row]
    rejected: Sequence[Rejection]
    end: Checkpoint
    last: bool

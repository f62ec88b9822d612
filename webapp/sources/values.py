"""The vocabulary of sources: kinds, statuses, and what a reader hands to the service.

Nothing here touches a file, the database or the clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

MAX_NAME = 64
REJECTED_CHARACTERS = 2000
ERROR_CHARACTERS = 500


class SourceKind(StrEnum):
    """How a source is read."""

    CSV = "csv"
    API = "api"
    RSS = "rss"


class Pagination(StrEnum):
    """How the pages of an API follow each other."""

    NONE = "none"
    PAGE = "page"
    CURSOR = "cursor"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a source is called over HTTP; all but the first two are for APIs.

    ``auth_env`` names the environment variable whose value is sent as the header ``auth_header``.
    ``items`` and ``cursor_path`` are dotted paths into the document; an empty ``items`` is the
    document itself.  ``size_param`` empty asks for no size of pages.
    """

    auth_env: str = ""
    auth_header: str = "Authorization"
    items: str = ""
    pagination: str = Pagination.NONE
    page_param: str = "page"
    first_page: int = 1
    size_param: str = ""
    page_size: int = 100
    cursor_param: str = "cursor"
    cursor_path: str = ""
    max_pages: int = 10_000

    def to_json(self) -> dict[str, Any]:
        """Return what is stored: what differs from the defaults."""
        return {
            item.name: value
            for item in fields(self)
            if (value := getattr(self, item.name)) != item.default
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDraft:
    """All that people say of a source but its name; ``mapping`` goes from new names to old ones."""

    kind: str = SourceKind.CSV
    location: str = ""
    key_field: str = ""
    options: Options = field(default_factory=Options)
    mapping: Mapping[str, str] = field(default_factory=dict)


class RunStatus(StrEnum):
    """Where a run stands; a waiting one goes on when its job is tried again."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server told of the version that it sent, to be asked with the next time."""

    etag: str = ""
    last_modified: str = ""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request that wants an answer only where something changed."""
        told = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Trail:
    """What is remembered of the pages behind, to notice that they come again.

    ``mark`` is the digest of one of them.  It moves on to the present page each time that the way
    since then has become twice as long, so that a circle of any length is found after going round
    it a few times at most (Brent 1980), and only one page need be remembered.
    """

    mark: str = ""
    steps: int = 0
    power: int = 1

    def after(self, digest: str) -> "Trail | None":
        """Return the trail with one more page on it, None where that page has been seen before."""
        if digest == self.mark:
            return None
        if self.steps + 1 == self.power or not self.mark:
            return Trail(digest, 0, self.power * 2)
        return Trail(self.mark, self.steps + 1, self.power)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the next batch begins, in which version of what is read; each kind uses its part.

    Of a CSV file ``offset`` counts bytes from 0 and ``line`` lines from 1; ``size`` in bytes and
    ``modified`` in nanoseconds tell one version from another, and ``digest`` does where it was
    downloaded.  Of an API ``position`` is the page, the cursor or the address to be asked next
    (empty: the first), ``page`` how many were read to their end, ``offset`` how many items of the
    present one, and ``digest`` is of that page.  Of a feed ``done`` are digests of the entries that
    were read.  ``line`` is the number of the next row in each kind, ``complete`` says that there is
    none, and ``definition`` is the version of the source.
    """

    offset: int = 0
    line: int = 1
    size: int = 0
    modified: int = 0
    digest: str = ""
    position: str = ""
    page: int = 0
    trail: Trail = Trail()
    done: tuple[str, ...] = ()
    validators: Validators = Validators()
    definition: int = 1
    complete: bool = False

    @property
    def at_start(self) -> bool:
        """Tell whether nothing has been read yet."""
        return self.offset == 0 and self.page == 0 and not self.done and not self.complete

    def same_version(self, other: "Checkpoint") -> bool:
        """Tell whether both are places in the same version of a file."""
        return self.version == other.version

    @property
    def version(self) -> tuple[object, ...]:
        """Return what tells one version of a file from another."""
        return (self.size, self.modified, self.digest, self.definition)

    def resumed(self, saved: "Checkpoint | None") -> "Checkpoint":
        """Return where to go on: the saved place, or this one where the file has changed since.

        A place in another version means nothing; starting over is safe, since rows that stand
        already are only counted as unchanged.
        """
        return saved if saved is not None and saved.same_version(self) else self

    def to_json(self) -> dict[str, Any]:
        """Return what the ledger keeps; what a kind has no use for is left out."""
        always = {name: getattr(self, name) for name in ("offset", "line", "size", "modified")}
        facts = asdict(self)
        rest = {
            item.name: facts[item.name]
            for item in fields(self)
            if item.name not in always and getattr(self, item.name) != item.default
        }
        return always | rest

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_json` wrote."""
        facts = dict(saved)
        facts["trail"] = Trail(**facts.get("trail", {}))
        facts["validators"] = Validators(**facts.get("validators", {}))
        facts["done"] = tuple(facts.get("done", ()))
        return cls(**facts)


# Not frozen: one is made for each row, and that takes three times as long.
@dataclass(slots=True)
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
        """Keep the texts as they can be stored and shown: short, without NUL and the line's end."""
        kept = text[:REJECTED_CHARACTERS].rstrip("\r\n")
        return cls(line, _storable(error[:ERROR_CHARACTERS])[:ERROR_CHARACTERS], _storable(kept))


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a source; ``end`` is where the next batch begins.

    ``columns`` are the fields that its rows have, none where nothing tells.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    rejected: Sequence[Rejection]
    end: Checkpoint
    last: bool


class Unreadable(Exception):
    """What a server sent is not what it should be; it may be better the next time."""


def _storable(text: str) -> str:
    """Return a text without NUL and without halves of characters, which no database holds."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()

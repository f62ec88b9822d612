"""Reading sources, of every kind behind one interface: from a place, so many rows at most.

A reader lives as long as one attempt of a run, and keeps what it has fetched meanwhile; what has to
outlive it stands in the place.  Whatever leaves the process goes through the source's guard, once
for each page, file or batch.  It must not know what becomes of the rows.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

import httpx

from webapp.errors import Invalid
from webapp.guards import Guard, guard
from webapp.jobs.values import Deferred
from webapp.outbound.addresses import check_url
from webapp.outbound.clients import allowed_hosts
from webapp.retries.classification import register_error_class
from webapp.retries.values import ErrorClass, RetryConfig
from webapp.sources.documents import Document, read_document, rows_of
from webapp.sources.feeds import COLUMNS, entry_digest, read_feed
from webapp.sources.locations import find_file, is_url
from webapp.sources.readers import read_batch, read_rows, start_of
from webapp.sources.values import (
    Batch,
    Checkpoint,
    Pagination,
    Rejection,
    Row,
    SourceDraft,
    SourceKind,
    Unreadable,
    Validators,
)

# A short hiccup is waited for here; a longer one is the job's next attempt.
READ_RETRY = RetryConfig(max_attempts=3, initial_delay=0.5, max_delay=5.0)
# A run waits for its turn; so a source of many pages is not put off once for each of them.
TURN_SECONDS = 60.0
# Whoever writes a file is given this long before the file is read from its start again.
CHANGED_PAUSE = 10.0
MAX_TOKEN = 2000
_DIGEST_PIECE = 1024 * 1024
_ACCEPT = {
    SourceKind.CSV: "text/csv, */*;q=0.5",
    SourceKind.API: "application/json, */*;q=0.5",
    SourceKind.RSS: "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5",
}

register_error_class(Unreadable, ErrorClass.MALFORMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a source is called: seconds for one request, and the size of its answer.

    ``cut`` takes the beginning of what is larger.
    """

    retry: RetryConfig | None = READ_RETRY
    wait: float = TURN_SECONDS
    seconds: float = 30.0
    max_bytes: int = 10 * 1024 * 1024
    cut: bool = False


#: What a run may take, by kind.
RUN_TERMS: Mapping[str, Terms] = {
    SourceKind.CSV: Terms(seconds=900.0, max_bytes=2 * 1024**3),
    SourceKind.API: Terms(),
    SourceKind.RSS: Terms(max_bytes=5 * 1024 * 1024),
}


class Reader(Protocol):
    """What reads a source; closed once it is no longer needed."""

    def begin(self, saved: Checkpoint | None) -> Checkpoint | None:
        """Return where to read: the saved place where it still means something, else the start.

        None where nothing has changed since the source was last read to its end.
        """

    def read(self, at: Checkpoint, size: int) -> Batch:
        """Return at most so many rows from a place; none of them has been returned before it."""

    def close(self) -> None:
        """Let go of what was fetched."""


def open_reader(
    draft: SourceDraft,
    name: str,
    *,
    terms: Terms | None = None,
    validators: Validators | None = None,
    definition: int = 1,
) -> Reader:
    """Return the reader of a source; ``name`` is that of its guard.

    ``validators`` are those of what was last read to its end, ``definition`` the source's version.
    """
    terms = terms or RUN_TERMS[draft.kind]
    if not is_url(draft.location):
        return _FileReader(draft, guard(name, retry=terms.retry, wait=terms.wait), definition)
    link = _Link(draft, name, terms, validators or Validators(), definition)
    return _READERS[SourceKind(draft.kind)](link)


class _FileReader:
    """A CSV file of this machine; each batch opens it anew, by a guarded call of its own."""

    def __init__(self, draft: SourceDraft, guarded: Guard, definition: int) -> None:
        self._location = draft.location
        self._guard = guarded
        self._definition = definition

    def begin(self, saved: Checkpoint | None) -> Checkpoint | None:
        start = self._guard.call(lambda: start_of(find_file(self._location)))
        return replace(start, definition=self._definition).resumed(saved)

    def read(self, at: Checkpoint, size: int) -> Batch:
        batch = self._guard.call(lambda: read_batch(find_file(self._location), at, size))
        if not batch.end.same_version(at):
            raise Deferred("The file changed while it was read", seconds=CHANGED_PAUSE)
        return batch

    def close(self) -> None:
        pass


class _Link:
    """How one source is asked over HTTP, whatever it answers with."""

    def __init__(
        self, draft: SourceDraft, name: str, terms: Terms, validators: Validators, definition: int
    ) -> None:
        self.draft = draft
        self.options = draft.options
        self.terms = terms
        self.validators = validators
        self.start = Checkpoint(definition=definition)
        self._guard = guard(name, retry=terms.retry, timeout=terms.seconds, wait=terms.wait)

    def get(
        self, url: str, *, conditional: bool = False, into: BinaryIO | None = None
    ) -> httpx.Response:
        """Ask an address; ``conditional`` asks only for what has changed since."""
        # What is forbidden at first sight is refused before anything counts as a call.
        check_url(url, field="location", allowed=allowed_hosts())
        headers = {
            "Accept": _ACCEPT[SourceKind(self.draft.kind)],
            "User-Agent": "Switchyard",
            **self._authorization(),
            **(self.validators.headers() if conditional else {}),
        }
        return self._guard.get(
            url, headers=headers, max_bytes=self.terms.max_bytes, cut=self.terms.cut, into=into
        )

    def _authorization(self) -> dict[str, str]:
        """Return the header that says who we are; its value is in no error and in no log."""
        name = self.options.auth_env
        if not name:
            return {}
        value = os.environ.get(name, "").strip()
        if not value:
            raise Invalid.field("auth_env", f"{name} is not set where this runs.")
        if not (value.isascii() and value.isprintable()):
            raise Invalid.field("auth_env", f"{name} holds characters that no header may have.")
        return {self.options.auth_header: value}


class _DownloadReader:
    """A CSV file at an address: fetched whole into a file without a name, then read as a file."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    def begin(self, saved: Checkpoint | None) -> Checkpoint | None:
        first = saved is None or saved.at_start
        answer = self._link.get(self._link.draft.location, conditional=first, into=self._file)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        if self._link.terms.cut:
            self._drop_half_a_line()
        start = replace(
            self._link.start,
            size=self._file.seek(0, os.SEEK_END),
            digest=self._digest(),
            validators=_validators(answer),
        )
        return start.resumed(saved)

    def read(self, at: Checkpoint, size: int) -> Batch:
        return read_rows(self._file, at, size)

    def close(self) -> None:
        self._file.close()

    def _digest(self) -> str:
        found = hashlib.blake2b(digest_size=16)
        self._file.seek(0)
        while piece := self._file.read(_DIGEST_PIECE):
            found.update(piece)
        return found.hexdigest()

    def _drop_half_a_line(self) -> None:
        if self._file.seek(0, os.SEEK_END) == self._link.terms.max_bytes:
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1)


@dataclass(frozen=True, slots=True)
class _Page:
    """One page as it was fetched, for a position; ``next`` is the next position, empty for none."""

    position: str
    document: Document
    digest: str
    next: str
    validators: Validators


class _PageReader:
    """An API; a batch lies within one page, and a page that has more rows gives several."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._options = link.options
        self._page: _Page | None = None

    def begin(self, saved: Checkpoint | None) -> Checkpoint | None:
        start = self._link.start
        if saved is None or saved.definition != start.definition:
            saved = start
        if saved.complete:
            return saved
        # What a first page tells of itself says nothing of the pages behind it.
        alone = self._options.pagination == Pagination.NONE
        page = self._fetch(saved, conditional=alone and saved.at_start)
        if page is not None and saved.offset and page.digest != saved.digest:
            # Its items may stand in another order by now: those that were read count as unchanged.
            return replace(saved, offset=0)
        return saved if page is not None else None

    def read(self, at: Checkpoint, size: int) -> Batch:
        page = self._page
        if page is None or page.position != at.position:
            page = self._fetch(at)
        assert page is not None  # noqa: S101 - only what was asked with a condition is none
        items = page.document.items[at.offset : at.offset + size]
        rows, rejected = _sorted(rows_of(items, at.line))
        end = replace(at, offset=at.offset + len(items), line=at.line + len(items))
        whole = end.offset == len(page.document.items)
        end = self._behind(end, page) if whole else replace(end, digest=page.digest)
        return Batch(_columns_of(rows), rows, rejected, end, last=end.complete)

    def close(self) -> None:
        self._page = None

    def _fetch(self, at: Checkpoint, *, conditional: bool = False) -> _Page | None:
        answer = self._link.get(self._address(at.position), conditional=conditional)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        document = read_document(
            answer.content, items=self._options.items, cursor=self._options.cursor_path
        )
        digest = hashlib.blake2b(answer.content, digest_size=16).hexdigest()
        following = self._next(at, answer, document)
        self._page = _Page(at.position, document, digest, following, _validators(answer))
        return self._page

    def _address(self, position: str) -> str:
        """Return the address of a page; an empty position is the first."""
        options = self._options
        if position and options.pagination == Pagination.LINK:
            return position
        asked: dict[str, str] = {}
        if options.size_param:
            asked[options.size_param] = str(options.page_size)
        if options.pagination == Pagination.PAGE:
            asked[options.page_param] = position or str(options.first_page)
        elif position:
            asked[options.cursor_param] = position
        return str(httpx.URL(self._link.draft.location).copy_merge_params(asked))

    def _next(self, at: Checkpoint, answer: httpx.Response, document: Document) -> str:
        options = self._options
        if options.pagination == Pagination.PAGE:
            page = int(at.position or options.first_page)
            return str(page + 1) if document.items else ""
        if options.pagination == Pagination.CURSOR:
            return document.cursor
        if options.pagination == Pagination.LINK:
            told = answer.links.get("next", {}).get("url", "")
            return self._address_of_next(answer, document.cursor if options.cursor_path else told)
        return ""

    def _address_of_next(self, answer: httpx.Response, told: str) -> str:
        if not told:
            return ""
        try:
            url = answer.url.join(told)
        except httpx.InvalidURL:
            raise Invalid("The address of the next page is none.") from None
        ours = httpx.URL(self._link.draft.location)
        if (url.scheme, url.host, url.port) != (ours.scheme, ours.host, ours.port):
            # Whoever may be called, and is told who we are, was said by whoever added the source.
            raise Invalid(f"The next page is elsewhere, at {url.scheme}://{url.host}.")
        return str(url)

    def _behind(self, at: Checkpoint, page: _Page) -> Checkpoint:
        """Return the place behind a page that was read to its end."""
        read = replace(at, offset=0, digest="", page=at.page + 1)
        if not page.next:
            return replace(read, complete=True, validators=page.validators)
        if len(page.next) > MAX_TOKEN:
            raise Invalid(f"Page {read.page} names a next one in more than {MAX_TOKEN} characters.")
        by_number = self._options.pagination == Pagination.PAGE
        seen = page.digest if by_number else _digest_of(page.next)
        trail = at.trail.after(seen)
        if trail is None or page.next == at.position:
            what = "is a page that was read before" if by_number else "leads to one read before"
            raise Invalid(f"Page {read.page} {what}: the pages go round in a circle.")
        if read.page >= self._options.max_pages:
            raise Invalid(
                f"There is still a next page after {read.page:,}; that is the most that is read."
            )
        return replace(read, position=page.next, trail=trail)


class _FeedReader:
    """A feed: fetched whole, and read by entries; those that were read are known by digests."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._entries: dict[str, Row | Rejection] = {}
        self._validators = Validators()

    def begin(self, saved: Checkpoint | None) -> Checkpoint | None:
        start = self._link.start
        if saved is None or saved.definition != start.definition:
            saved = start
        if saved.complete:
            return saved
        answer = self._link.get(self._link.draft.location, conditional=saved.at_start)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        # Feeds begin with what is newest; of two entries of one id that one is to stay.
        for entry in reversed(read_feed(answer.content, answer.headers.get("Content-Type", ""))):
            self._entries.setdefault(entry_digest(entry), entry)
        self._validators = _validators(answer)
        return saved

    def read(self, at: Checkpoint, size: int) -> Batch:
        done = set(at.done)
        waiting = [digest for digest in self._entries if digest not in done]
        now = waiting[:size]
        rows, rejected = _sorted(self._entries[digest] for digest in now)
        last = len(now) == len(waiting)
        end = replace(
            at,
            line=at.line + len(now),
            page=int(last),
            # Of use only while there is more to read.
            done=() if last else (*at.done, *now),
            validators=self._validators if last else at.validators,
            complete=last,
        )
        return Batch(COLUMNS, rows, rejected, end, last)

    def close(self) -> None:
        self._entries = {}


_READERS: Mapping[SourceKind, Callable[[_Link], Reader]] = {
    SourceKind.CSV: _DownloadReader,
    SourceKind.API: _PageReader,
    SourceKind.RSS: _FeedReader,
}


def _sorted(items: Iterable[Row | Rejection]) -> tuple[list[Row], list[Rejection]]:
    rows: list[Row] = []
    rejected: list[Rejection] = []
    for item in items:
        if isinstance(item, Row):
            rows.append(item)
        else:
            rejected.append(item)
    return rows, rejected


def _columns_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the fields that any of the rows has, in the order in which they come up."""
    return tuple(dict.fromkeys(name for row in rows for name in row.fields))


def _digest_of(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _validators(answer: httpx.Response) -> Validators:
    """Return what an answer says of its version, as far as it can be sent back."""
    etag, modified = (answer.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    return Validators(*(text if _fits(text) else "" for text in (etag, modified)))


def _fits(text: str) -> bool:
    return len(text) <= MAX_TOKEN and text.isascii() and text.isprintable()

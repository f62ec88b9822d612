"""Reading over HTTP from a real server: every row once, from any place, and no harm done."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.http_server import answer, drip
from tests.sources.site import (
    Answer,
    Headers,
    Query,
    Site,
    as_json,
    feed,
    numbered,
    orders,
    site,
    with_cursor,
)
from webapp.errors import Invalid
from webapp.outbound.values import AddressRefused, AnswerTooLarge, TimeLimitExceeded
from webapp.sources.fetching import Reader, Terms, open_reader
from webapp.sources.values import (
    Batch,
    Checkpoint,
    Options,
    Pagination,
    SourceDraft,
    Unreadable,
    Validators,
)

Serve = Callable[[Callable[[str, Query, Headers], Answer]], Site]
SUNDAY = "Sun, 22 Nov 2026 12:00:00 GMT"
CURSOR: Mapping[str, Any] = {
    "items": "data.items",
    "pagination": "cursor",
    "cursor_path": "meta.next",
}


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda reply: stack.enter_context(site(reply))


_opened: list[Reader] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def reader_of(
    server: Site,
    kind: str = "api",
    *,
    path: str = "orders",
    terms: Terms | None = None,
    validators: Validators | None = None,
    definition: int = 1,
    **options: Any,
) -> Reader:
    """The reader of a source that no test before has called."""
    draft = SourceDraft(
        kind=kind, location=server.url + path, key_field="id", options=Options(**options)
    )
    terms = terms or Terms(retry=None, wait=0, seconds=5)
    name = f"source:{uuid.uuid4().hex}"
    reader = open_reader(draft, name, terms=terms, validators=validators, definition=definition)
    _opened.append(reader)
    return reader


def read_on(reader: Reader, place: Checkpoint | None, size: int) -> list[Batch]:
    assert place is not None
    batches: list[Batch] = []
    while not place.complete:
        batches.append(reader.read(place, size))
        place = batches[-1].end
        if batches[-1].last:
            break
    return batches


def read_all(reader: Reader, size: int = 1000) -> list[Batch]:
    return read_on(reader, reader.begin(None), size)


def keys(batches: list[Batch]) -> list[str]:
    return [row.fields["id"] for batch in batches for row in batch.rows]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 10, 25])
@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_all_pages_are_read_whatever_the_size_of_a_batch(
    serve: Serve, count: int, size: int
) -> None:
    server = serve(numbered(count, 10))
    batches = read_all(reader_of(server, pagination="page"), size)
    assert keys(batches) == numbers(count)
    assert all(len(batch.rows) <= size for batch in batches)
    # Each page is asked for once, however many batches it gives, and an empty one ends it.
    assert server.paths == [f"/orders?page={page}" for page in range(1, -(-count // 10) + 2)]
    lines = [row.line for batch in batches for row in batch.rows]
    assert lines == list(range(1, count + 1))


def test_a_cursor_is_followed_to_its_end(serve: Serve) -> None:
    server = serve(with_cursor(25, 10))
    assert keys(read_all(reader_of(server, size_param="limit", page_size=10, **CURSOR))) == numbers(
        25
    )
    assert server.paths == [
        "/orders?limit=10", "/orders?limit=10&cursor=10", "/orders?limit=10&cursor=20",
    ]  # fmt: skip


@pytest.mark.parametrize("in_body", [False, True])
def test_an_address_of_the_next_page_is_followed(serve: Serve, in_body: bool) -> None:
    def reply(path: str, query: Query, headers: Headers) -> bytes:
        page = int(query.get("page", "0"))
        more = page < 2
        told = f"/orders?page={page + 1}&key=1" if more else None
        header = [f'Link: <{told}>; rel="next", </>; rel="first"'] if more and not in_body else []
        items = orders(range(page * 10, page * 10 + 10))
        return as_json({"rows": items, "next": told if in_body else None}, *header)

    server = serve(reply)
    options: dict[str, Any] = {"items": "rows", "pagination": "link"}
    if in_body:
        options["cursor_path"] = "next"
    assert keys(read_all(reader_of(server, **options))) == numbers(30)
    assert server.paths == ["/orders", "/orders?page=1&key=1", "/orders?page=2&key=1"]


def test_what_an_address_asks_for_itself_stays_in_it(serve: Serve) -> None:
    server = serve(numbered(3, 10))
    read_all(reader_of(server, path="orders?state=open&page=9", pagination="page"))
    assert server.paths[0] == "/orders?state=open&page=1"


@pytest.mark.parametrize("after", range(1, 8))
@pytest.mark.parametrize(
    ("reply", "options"),
    [(numbered(25, 10), {"pagination": "page"}), (with_cursor(25, 10), CURSOR)],
)
def test_a_run_goes_on_after_any_batch_with_what_comes_behind_it(
    serve: Serve,
    reply: Callable[[str, Query, Headers], bytes],
    options: Mapping[str, Any],
    after: int,
) -> None:
    server = serve(reply)
    whole = read_all(reader_of(server, **options), 4)
    kept = whole[:after]
    # As it comes back from the ledger, into another process.
    saved = Checkpoint.from_json(kept[-1].end.to_json())
    server.received.clear()
    reader = reader_of(server, **options)
    rest = read_on(reader, reader.begin(saved), 4)
    assert keys(kept) + keys(rest) == numbers(25)
    assert "/orders?page=1" not in server.paths or saved.page == 0


def test_a_page_that_changed_meanwhile_is_taken_from_its_start(serve: Serve) -> None:
    pages = [orders(range(10))]
    server = serve(lambda *_: as_json(pages[0]))
    reader = reader_of(server)
    first = reader.read(reader.begin(None) or Checkpoint(), 4)
    pages[0] = [{"id": "new"}, *orders(range(10))]
    reader = reader_of(server)
    assert keys(read_on(reader, reader.begin(first.end), 4)) == ["new", *numbers(10)]


def test_a_place_in_another_definition_of_the_source_means_nothing(serve: Serve) -> None:
    server = serve(with_cursor(25, 10))
    end = read_all(reader_of(server, **CURSOR))[0].end
    reader = reader_of(server, definition=2, **CURSOR)
    assert keys(read_on(reader, reader.begin(end), 100)) == numbers(25)


@pytest.mark.parametrize(
    ("cursors", "words"),
    [
        (["a", "a"], "Page 2 leads to one read before"),
        (["a", "b", "c", "a", "b", "c", "a", "b", "c", "a", "b", "c"], "go round in a circle"),
    ],
)
def test_cursors_that_come_again_are_an_end_in_words(
    serve: Serve, cursors: list[str], words: str
) -> None:
    def reply(*_: object) -> bytes:
        page = len(server.received)
        return as_json({"data": {"items": [{"id": page}]}, "meta": {"next": cursors[page - 1]}})

    server = serve(reply)
    with pytest.raises(Invalid, match=words):
        read_all(reader_of(server, **CURSOR))


def test_a_server_that_ignores_the_page_is_noticed_with_the_second(serve: Serve) -> None:
    server = serve(lambda *_: as_json(orders(range(3))))
    with pytest.raises(Invalid, match="Page 2 is a page that was read before"):
        read_all(reader_of(server, pagination="page"))
    assert len(server.received) == 2


def test_pages_without_end_have_one(serve: Serve) -> None:
    server = serve(lambda _, query, __: as_json([{"id": query["page"]}]))
    with pytest.raises(Invalid, match="still a next page after 20; that is the most"):
        read_all(reader_of(server, pagination="page", max_pages=20))
    assert len(server.received) == 20


@pytest.mark.parametrize(
    "told", ["http://127.0.0.1:1/", "http://169.254.169.254/", "//evil.example/"]
)
def test_a_next_page_elsewhere_is_not_followed(serve: Serve, told: str) -> None:
    server = serve(lambda *_: as_json([{"id": 1}], f'Link: <{told}>; rel="next"'))
    with pytest.raises(Invalid, match="The next page is elsewhere"):
        read_all(reader_of(server, pagination=Pagination.LINK))
    assert len(server.received) == 1


CSV = "id,name\n" + "".join(f"{n},name {n}\n" for n in range(25))


def test_a_csv_file_at_an_address_is_read_like_a_file(serve: Serve) -> None:
    server = serve(lambda *_: answer("200 OK", 'ETag: "1"', body=CSV.encode()))
    batches = read_all(reader_of(server, "csv"), 10)
    assert keys(batches) == numbers(25)
    assert batches[-1].end.offset == batches[-1].end.size == len(CSV)
    assert batches[-1].end.validators == Validators(etag='"1"')
    assert len(server.received) == 1


def test_a_csv_file_at_an_address_is_read_on_in_the_same_version_only(serve: Serve) -> None:
    body = [CSV]
    server = serve(lambda *_: answer("200 OK", body=body[0].encode()))
    reader = reader_of(server, "csv")
    first = reader.read(reader.begin(None) or Checkpoint(), 10)
    reader = reader_of(server, "csv")
    assert keys(read_on(reader, reader.begin(first.end), 10)) == numbers(25)[10:]
    body[0] = CSV.replace("name 3", "name x")
    reader = reader_of(server, "csv")
    assert keys(read_on(reader, reader.begin(first.end), 10)) == numbers(25)


def test_a_feed_is_read_oldest_first_and_by_its_entries(serve: Serve) -> None:
    names = ["d", "c", "b", "a"]
    server = serve(lambda *_: answer("200 OK", body=feed(*names)))
    reader = reader_of(server, "rss")
    first = reader.read(reader.begin(None) or Checkpoint(), 2)
    assert keys([first]) == ["a", "b"]
    # Meanwhile something was added and something else has gone.
    names[:] = ["e", "d", "b", "a"]
    reader = reader_of(server, "rss")
    rest = read_on(reader, reader.begin(Checkpoint.from_json(first.end.to_json())), 2)
    assert keys(rest) == ["d", "e"]
    assert rest[-1].end.done == ()


@pytest.mark.parametrize(
    ("kind", "body", "options"),
    [
        ("csv", CSV.encode(), {}),
        ("rss", feed("a"), {}),
        ("api", b'[{"id": 1}]', {}),
    ],
)
def test_what_has_not_changed_since_is_not_read_again(
    serve: Serve, kind: str, body: bytes, options: Mapping[str, Any]
) -> None:
    def reply(_: str, __: Query, headers: Headers) -> bytes:
        if headers.get("if-none-match") == '"v1"':
            return answer("304 Not Modified")
        return answer(
            "200 OK", 'ETag: "v1"', "Last-Modified: Sun, 22 Nov 2026 12:00:00 GMT", body=body
        )

    server = serve(reply)
    end = read_all(reader_of(server, kind, **options))[-1].end
    assert end.validators == Validators('"v1"', SUNDAY)
    assert reader_of(server, kind, validators=end.validators).begin(None) is None
    assert server.received[-1].headers["if-modified-since"] == SUNDAY
    # In the middle of a run the rest is wanted, whatever was read to its end before.
    middle = Checkpoint(offset=1, done=("x",))
    assert reader_of(server, kind, validators=end.validators).begin(middle) is not None


def test_of_several_pages_the_first_says_nothing_of_the_rest(serve: Serve) -> None:
    server = serve(numbered(15, 10))
    reader = reader_of(server, pagination="page", validators=Validators(etag='"v1"'))
    assert keys(read_all(reader)) == numbers(15)
    assert not any("if-none-match" in request.headers for request in server.received)


def test_a_304_that_nobody_asked_for_is_an_error(serve: Serve) -> None:
    server = serve(lambda *_: answer("304 Not Modified"))
    with pytest.raises(httpx.HTTPStatusError):
        reader_of(server, "rss").begin(None)


def test_a_secret_of_the_environment_is_sent_and_stays_with_the_server(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = serve(numbered(0, 10))
    server = serve(lambda *_: answer("302 Found", f"Location: {other.url}orders?page=1"))
    monkeypatch.setenv("SOURCE_ORDERS", " Bearer s3cret ")
    read_all(reader_of(server, auth_env="SOURCE_ORDERS", auth_header="X-Api-Key"))
    assert server.received[0].headers["x-api-key"] == "Bearer s3cret"
    assert "x-api-key" not in other.received[0].headers
    assert "s3cret" not in str(other.received[0].headers)


@pytest.mark.parametrize(("value", "words"), [("", "is not set"), ("s3cret\r\nX: 1", "characters")])
def test_a_secret_that_cannot_be_sent_is_told_of_without_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    server = serve(numbered(0, 10))
    monkeypatch.setenv("SOURCE_ORDERS", value)
    with pytest.raises(Invalid, match=words) as caught:
        reader_of(server, auth_env="SOURCE_ORDERS").begin(None)
    assert "s3cret" not in str(caught.value)
    assert not server.received


@pytest.mark.parametrize("kind", ["csv", "api", "rss"])
@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "http://localhost/", "http://[::1]/"]
)
def test_a_redirect_to_a_private_address_is_refused(serve: Serve, kind: str, target: str) -> None:
    server = serve(lambda *_: answer("302 Found", f"Location: {target}"))
    with pytest.raises(AddressRefused):
        reader_of(server, kind).begin(None)


@pytest.mark.parametrize("kind", ["csv", "api", "rss"])
def test_an_answer_without_end_ends(serve: Serve, kind: str) -> None:
    def flood(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"a,b\n" * 1000)

    server = serve(lambda *_: flood)
    small = Terms(retry=None, wait=0, seconds=20, max_bytes=100_000)
    with pytest.raises(AnswerTooLarge):
        reader_of(server, kind, terms=small).begin(None)
    # Who wants the beginning only takes that, and does not wait for the end.
    cut = reader_of(server, "csv", terms=replace(small, cut=True))
    place = cut.begin(None)
    assert place is not None
    assert 99_000 < place.size <= 100_000


@pytest.mark.parametrize("kind", ["csv", "api", "rss"])
def test_an_answer_that_drips_ends_with_its_time(serve: Serve, kind: str) -> None:
    server = serve(lambda *_: drip(server))
    with pytest.raises(TimeLimitExceeded):
        reader_of(server, kind, terms=Terms(retry=None, wait=0, seconds=0.5)).begin(None)


def test_a_failure_that_passes_is_no_failure(serve: Serve) -> None:
    replies = [answer("503 Service Unavailable"), answer("502 Bad Gateway")]
    server = serve(lambda *_: replies.pop(0) if replies else as_json([{"id": 1}]))
    assert keys(read_all(reader_of(server, terms=Terms()))) == ["1"]
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("api", b"<html>Down for maintenance</html>", Unreadable),
        ("api", b'{"data": []}', Invalid),
        ("rss", b"<html>Down for maintenance</html>", Unreadable),
        ("rss", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss/>', Invalid),
    ],
)
def test_what_is_not_what_it_should_be_is_told_so(
    serve: Serve, kind: str, body: bytes, error: type[Exception]
) -> None:
    server = serve(lambda *_: answer("200 OK", body=body))
    with pytest.raises(error):
        reader_of(server, kind).begin(None)

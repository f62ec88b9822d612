"""What is an answer of a console that has flags, over a real connection, and what is none."""

from collections.abc import Iterator

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from webapp.flags.documents import flag_set_as_document
from webapp.flags.feeds import SNAPSHOT_PATH, HttpFeed
from webapp.flags.values import NEVER, FlagDefinition, FlagSet

FLAGS = FlagSet(7, {"beta": FlagDefinition(name="beta", enabled=True, percentage=12.5)})


@pytest.fixture
def feed(httpserver: HTTPServer) -> Iterator[HttpFeed]:
    feed = HttpFeed(httpserver.url_for("/"), "swy_edge")
    yield feed
    feed._connected().close()


def expect(httpserver: HTTPServer, **headers: str) -> None:
    httpserver.expect_ordered_request(SNAPSHOT_PATH).respond_with_json(
        flag_set_as_document(FLAGS), headers=headers
    )


def test_flags_are_read_once_and_then_asked_for_by_their_tag(
    httpserver: HTTPServer, feed: HttpFeed
) -> None:
    expect(httpserver, ETag='"7-abc"')
    httpserver.expect_ordered_request(SNAPSHOT_PATH).respond_with_data(status=304)
    assert feed.fetch(NEVER) == FLAGS
    assert feed.fetch(FLAGS.revision) is None
    first, second = (request for request, _ in httpserver.log)
    assert "If-None-Match" not in first.headers
    assert second.headers["If-None-Match"] == '"7-abc"'
    assert {request.headers["Authorization"] for request, _ in httpserver.log} == {
        "Bearer swy_edge"
    }


def test_whoever_has_forgotten_the_flags_asks_without_the_tag(
    httpserver: HTTPServer, feed: HttpFeed
) -> None:
    for _ in range(2):
        expect(httpserver, ETag='"7-abc"')
        assert feed.fetch(NEVER) == FLAGS
    assert all("If-None-Match" not in request.headers for request, _ in httpserver.log)


@pytest.mark.parametrize(
    "answer",
    [
        Response(status=302, headers={"Location": "/elsewhere"}),
        Response(status=401),
        Response(status=403),
        Response(status=404),
        Response(status=503),
        Response("<h1>Welcome</h1>", content_type="text/html"),
        Response('{"flags": []}', content_type="application/json"),
        Response("[]", content_type="application/json"),
        Response("null", content_type="application/json"),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.content_type}",
)
def test_what_is_no_answer_is_an_error_and_nobody_else_is_asked(
    httpserver: HTTPServer, feed: HttpFeed, answer: Response
) -> None:
    httpserver.expect_ordered_request(SNAPSHOT_PATH).respond_with_response(answer)
    with pytest.raises((httpx.HTTPError, LookupError, TypeError, ValueError)):
        feed.fetch(NEVER)
    assert [request.path for request, _ in httpserver.log] == [SNAPSHOT_PATH]
    expect(httpserver, ETag='"7-abc"')
    assert feed.fetch(NEVER) == FLAGS

"""What another instance says of a token, over a real connection."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.servers import free_port
from webapp.accounts import http_tokens
from webapp.accounts.http_tokens import PATH, HttpTokens
from webapp.accounts.policy import token_hash
from webapp.accounts.service import create_token, revoke_token
from webapp.accounts.token_sources import SourceAway
from webapp.accounts.tokens import TokenBook
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.roles import Role

SECOND = timedelta(seconds=1)
GRANT = {"name": "shop", "role": "viewer", "environment": "staging", "expires_at": None}


@pytest.fixture
def source(httpserver: HTTPServer) -> Iterator[HttpTokens]:
    source = HttpTokens(httpserver.url_for("/"))
    yield source
    source.close()


@pytest.fixture
def book(source: HttpTokens) -> Iterator[TokenBook]:
    book = TokenBook(source, refresh_seconds=3600)
    yield book
    book.stop()


@pytest.fixture
def upstream(app: Flask, httpserver: HTTPServer) -> Flask:
    """The application itself, behind the server."""

    def answer(request: Request) -> Response:
        return Response.from_app(app, request.environ)

    httpserver.expect_request(PATH).respond_with_handler(answer)
    return app


def make_token(app: Flask, *, days: int | None = None) -> str:
    now = clock_now()
    with app.app_context(), transaction() as session:
        return create_token(
            session,
            "shop",
            role=Role.VIEWER,
            environment="staging",
            expires_at=now + timedelta(days=days) if days else None,
            by=COMMAND,
            now=now,
        ).text


def test_the_upstream_says_what_a_token_is_worth(upstream: Flask, source: HttpTokens) -> None:
    shown = make_token(upstream, days=1)
    grant = source.find(shown, now=clock_now())
    assert grant is not None
    assert (grant.name, grant.role, grant.environment) == ("shop", Role.VIEWER, "staging")
    assert grant.holds(clock_now())
    assert not grant.holds(clock_now() + timedelta(days=1))


def test_an_unknown_token_is_worth_nothing(upstream: Flask, source: HttpTokens) -> None:
    assert source.find("swy_invented", now=clock_now()) is None


def test_a_revoked_token_is_refused_once_the_upstream_refuses_it(
    upstream: Flask, book: TokenBook
) -> None:
    shown, now = make_token(upstream), clock_now()
    assert book.grant(shown, now)
    with upstream.app_context(), transaction() as session:
        revoke_token(session, "shop", by=COMMAND, now=now, reason="Leaked")
    upstream.extensions["token_book"].refresh(clock_now())
    assert book.grant(shown, now + 3.9 * SECOND)
    book.refresh(now + 3.9 * SECOND)
    assert book.grant(shown, now + 3.9 * SECOND) is None


@pytest.mark.parametrize("shown", ["", "é" * 10, "a b", "a\r\nX-Other: 1", "a" * 10_000])
def test_what_can_be_no_token_is_not_sent(
    httpserver: HTTPServer, source: HttpTokens, shown: str
) -> None:
    assert source.find(shown, now=clock_now()) is None
    assert httpserver.log == []


@pytest.mark.parametrize(
    "answer",
    [
        Response(status=500),
        Response(status=503),
        Response(status=404),
        Response(status=302, headers={"Location": "/elsewhere"}),
        Response("<h1>Welcome</h1>", content_type="text/html"),
        Response('{"name": "shop", "role": "emperor"}', content_type="application/json"),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.content_type}",
)
def test_what_is_no_answer_changes_nothing(
    httpserver: HTTPServer, book: TokenBook, now: datetime, answer: Response
) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_json(GRANT)
    httpserver.expect_ordered_request(PATH).respond_with_response(answer)
    assert book.grant("swy_shop", now)
    book.refresh(now + SECOND)
    assert len(httpserver.log) == 2
    assert book.grant("swy_shop", now + timedelta(minutes=59))


def test_no_token_gets_into_the_log(
    app: Flask,
    httpserver: HTTPServer,
    book: TokenBook,
    now: datetime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    httpserver.expect_request(PATH).respond_with_data(status=500)
    with pytest.raises(SourceAway):
        book.grant("swy_shop", now)
    assert "tokens_not_confirmed" in caplog.text
    assert "swy_shop" not in caplog.text


def test_an_upstream_that_is_away_is_trusted_for_an_hour(now: datetime) -> None:
    with HTTPServer(port=free_port()) as server:
        server.expect_request(PATH).respond_with_json(GRANT)
        book = TokenBook(HttpTokens(server.url_for("/")), refresh_seconds=3600)
        assert book.grant("swy_shop", now)
    assert book.grant("swy_shop", now + timedelta(minutes=59))
    with pytest.raises(SourceAway):
        book.grant("swy_shop", now + timedelta(minutes=61))
    with pytest.raises(SourceAway):
        book.grant("swy_other", now)
    book.stop()


def test_a_token_is_shown_as_it_was_and_nowhere_else(
    httpserver: HTTPServer, source: HttpTokens, now: datetime
) -> None:
    httpserver.expect_request(PATH, headers={"Authorization": "Bearer swy_shop"}).respond_with_json(
        GRANT
    )
    assert source.find("swy_shop", now=now)
    assert source.refresh([token_hash("swy_shop")], now=now) == {
        token_hash("swy_shop"): source.find("swy_shop", now=now)
    }


def test_a_round_leaves_out_what_it_has_no_time_for(
    httpserver: HTTPServer, source: HttpTokens, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request(PATH).respond_with_json(GRANT)
    assert source.find("swy_shop", now=now)
    monkeypatch.setattr(http_tokens, "ROUND_SECONDS", -1.0)
    assert source.refresh([token_hash("swy_shop")], now=now) == {}


def test_a_token_that_is_no_longer_used_is_not_kept(
    httpserver: HTTPServer, source: HttpTokens, now: datetime
) -> None:
    httpserver.expect_request(PATH).respond_with_json(GRANT)
    used, unused = token_hash("swy_used"), token_hash("swy_unused")
    for text in ("swy_used", "swy_unused"):
        assert source.find(text, now=now)
    source.refresh([used], now=now + timedelta(seconds=59))
    assert set(source._texts) == {used, unused}
    source.refresh([used], now=now + timedelta(seconds=60))
    assert set(source._texts) == {used}

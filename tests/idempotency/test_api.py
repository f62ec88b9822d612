"""Idempotency keys over HTTP: once, replayed to the byte, refused, released, and never for two."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from sqlalchemy import event, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from tests.conftest import ConsoleClient, end
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now
from webapp.db import after_commit, db, reading, transaction
from webapp.flags.schemas import FORMAT
from webapp.idempotency import service
from webapp.idempotency.api import take_keys
from webapp.idempotency.models import IdempotencyKey
from webapp.idempotency.values import CLAIM_LASTS, Claim, Slot, fingerprint
from webapp.jobs.models import Job
from webapp.jobs.service import enqueue
from webapp.roles import Role
from webapp.settings import Settings
from webapp.web.access import requires
from webapp.web.answers import shown_once

URL = "/api/v1/queue/jobs/test_echo"
KEY = "order-4711"
OWN = "/api/v1/own"
Send = Callable[..., TestResponse]


@pytest.fixture
def send(app: Flask) -> Send:
    """Send a write as a program of a name, with a key."""
    tokens: dict[str, str] = {}

    def request(
        key: str | None = KEY,
        name: str = "shop",
        url: str = URL,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        to: Flask | None = None,
        **kwargs: Any,
    ) -> TestResponse:
        if name not in tokens:
            with app.app_context(), transaction() as session:
                made = create_token(session, name, role=Role.ADMIN, by=COMMAND, now=now())
            tokens[name] = made.text
        sent = {"Authorization": f"Bearer {tokens[name]}"} | (headers or {})
        if key is not None:
            sent["Idempotency-Key"] = key
        client = FlaskClient(to or app, use_cookies=False)
        return client.open(url, method=method, headers=sent, **kwargs)

    return request


def count(app: Flask, model: type[Any]) -> int:
    with app.app_context(), reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("idempotency_requests_total", {"outcome": outcome}) or 0.0


def test_a_request_that_is_repeated_is_carried_out_once_and_answered_to_the_byte(
    app: Flask, send: Send
) -> None:
    stored, replayed = counted("stored"), counted("replayed")
    body = {"arguments": {"value": 3}}
    first = send(json=body)
    again = send(json=body)
    assert first.status_code == again.status_code == 202
    assert again.data == first.data
    for name in ("Content-Type", "Location", "Content-Length"):
        assert again.headers[name] == first.headers[name]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    said = parsedate_to_datetime(again.headers["Original-Date"])
    assert abs(now() - said) < timedelta(minutes=1)
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert count(app, Job) == 1
    assert (counted("stored") - stored, counted("replayed") - replayed) == (1, 1)


def test_without_a_key_every_request_counts(app: Flask, send: Send) -> None:
    assert {send(key=None, json={}).status_code for _ in range(2)} == {202}
    assert (count(app, Job), count(app, IdempotencyKey)) == (2, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"json": {"priority": 3}},
        {"json": {}, "url": f"{URL}?a=b"},
        {"json": {}, "url": "/api/v1/queue/jobs/test_nothing"},
        {"json": {}, "method": "DELETE", "url": URL.replace("test_echo", "1")},
    ],
)
def test_a_key_that_came_with_another_request_is_refused(
    app: Flask, send: Send, changed: dict[str, Any]
) -> None:
    mismatches = counted("mismatch")
    send(json={})
    answer = send(**changed)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert count(app, Job) == 1
    assert counted("mismatch") - mismatches == 1


def test_anothers_key_is_another_key(app: Flask, send: Send) -> None:
    assert send(json={}).get_json()["id"] != send(json={}, name="depot").get_json()["id"]
    assert count(app, Job) == 2


def test_a_person_has_keys_of_their_own(app: Flask, send: Send, admin: ConsoleClient) -> None:
    """After the check that the page meant it, and with SQLite's lock let go in between."""
    send(json={}, name="admin")
    answers = [admin.post(URL, json={}, headers={"Idempotency-Key": KEY}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].data == answers[1].data
    assert count(app, Job) == 2
    admin.csrf = False
    assert admin.post(URL, json={}, headers={"Idempotency-Key": KEY}).status_code == 400


def test_it_stands_behind_the_check_of_who_asks(app: Flask, send: Send) -> None:
    send(json={})
    stranger = FlaskClient(app, use_cookies=False)
    answer = stranger.post(URL, json={}, headers={"Idempotency-Key": KEY})
    assert answer.status_code == 401
    assert count(app, IdempotencyKey) == 1


def test_the_form_of_the_draft_is_the_same_key(app: Flask, send: Send) -> None:
    send(key=KEY, json={})
    assert send(key=f'"{KEY}"', json={}).headers["Idempotency-Replayed"] == "true"
    assert count(app, Job) == 1


@pytest.mark.parametrize(
    "key", ["", "ab", "a" * 256, "with space", "ä" * 9, '"abc', 'abc"', "a,b,c", '"a"; x=1']
)
def test_what_is_no_key_is_refused(app: Flask, send: Send, key: str) -> None:
    answer = send(key=key, json={})
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.get_json()["detail"]
    assert count(app, Job) == 0


def test_an_answer_other_than_2xx_releases_the_key(app: Flask, send: Send) -> None:
    assert send(json={"priority": 1000}).status_code == 422
    assert send(url="/api/v1/queue/jobs/none", json={}).status_code == 404
    assert count(app, IdempotencyKey) == 0
    assert send(json={}).status_code == 202


def test_what_a_view_did_not_commit_does_not_stand(app: Flask, send: Send) -> None:
    flags = {"format": FORMAT, "flags": [{"name": "beta"}], "reason": "r"}
    url = "/api/v1/feature-flags/import?dry_run=true"
    answers = [send(url=url, json=flags) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert send(key=None, url="/api/v1/feature-flags/beta", method="GET").status_code == 404


def test_every_kind_of_write_takes_a_key(app: Flask, send: Send) -> None:
    flag = "/api/v1/feature-flags/beta"
    assert send("make", url="/api/v1/feature-flags", json={"name": "beta"}).status_code == 201
    change = {"percentage": 10, "reason": "r", "version": 1}
    answers = [send("change", url=flag, method="PUT", json=change) for _ in range(2)]
    # Without the key the second would be refused: its version is outdated.
    assert [answer.status_code for answer in answers] == [200, 200]
    for _ in range(2):
        purge = send("away", url=f"{flag}?reason=r", method="DELETE")
        assert purge.status_code == 200
    for _ in range(2):
        gone = send("gone", url=f"{flag}?reason=r&purge=true", method="DELETE")
        assert (gone.status_code, gone.data) == (204, b"")


def test_every_view_that_writes_takes_a_key(app: Flask) -> None:
    """But evaluations, which change nothing, and what has nobody to keep a key for."""
    without = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
        and (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}
        and not getattr(app.view_functions[rule.endpoint], "takes_key", False)
    }
    assert without == {
        "/api/v1/auth/token",
        "/api/v1/feature-flags/<name>/evaluate",
        "/api/v1/feature-flags/<name>/check",
        "/api/v1/feature-flags/evaluate-bulk",
    }


def test_while_the_first_is_running_the_others_are_told_to_wait(app: Flask, send: Send) -> None:
    conflicts = counted("conflict")
    assert send("warm-up", json={"priority": 1000}).status_code == 422
    claim_of(app)
    answer = send(json={})
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "1")
    assert count(app, Job) == 0
    assert counted("conflict") - conflicts == 1


def claim_of(app: Flask, at: timedelta = timedelta(0)) -> Claim:
    """Claim the key as a process would that died before it answered."""
    slot = Slot("token:shop", KEY, "", fingerprint("POST", URL, b"", b"{}"))
    with app.app_context(), transaction() as session:
        found = service.claim(session, slot, lasts=timedelta(days=2), now=now() + at)
    assert isinstance(found, Claim)
    return found


def test_a_claim_whose_process_died_is_free_after_a_minute(app: Flask, send: Send) -> None:
    claim_of(app, at=-CLAIM_LASTS)
    assert send(json={}).status_code == 202
    assert "Idempotency-Replayed" in send(json={}).headers
    assert count(app, Job) == 1


def test_a_key_is_a_new_one_once_it_has_expired(app: Flask, send: Send) -> None:
    send(json={})
    with app.app_context(), transaction() as session:
        session.execute(update(IdempotencyKey).values(expires_at=now()))
    # Another request may bear it now.
    assert send(json={"priority": 3}).status_code == 202
    assert count(app, Job) == 2


def test_fifty_equal_requests_at_once_make_one_job(app: Flask, send: Send) -> None:
    assert send("warm-up", json={"priority": 1000}).status_code == 422
    start = threading.Barrier(10)

    def ask(_: int) -> TestResponse:
        start.wait(10)
        return send(json={})

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(50)))
    good = [answer for answer in answers if answer.status_code == 202]
    first = [answer for answer in good if "Idempotency-Replayed" not in answer.headers]
    assert count(app, Job) == 1
    assert len(first) == 1
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.data for answer in good} == {first[0].data}


# --- applications with settings and views of their own ---------------------------------------


@pytest.fixture
def build(settings: Settings, app: Flask) -> Iterator[Callable[..., Flask]]:
    """Build another application on the same database."""
    made: list[Flask] = []

    def another(view: Callable[[], Response] | None = None, **changes: Any) -> Flask:
        other = create_app(replace(settings, **changes))
        if view is not None:
            other.add_url_rule(OWN, "own", requires(Role.ADMIN)(view), methods=["POST"])
            take_keys(other)
        made.append(other)
        return other

    yield another
    for other in made:
        end(other)


def test_switched_off_a_key_means_nothing(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    other = build(idempotency_enabled=False)
    assert {send(json={}, to=other).status_code for _ in range(2)} == {202}
    assert (count(app, Job), count(app, IdempotencyKey)) == (2, 0)


def test_the_header_bears_the_name_that_is_set(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    other = build(idempotency_header="X-Once")
    for _ in range(2):
        send(key=None, headers={"X-Once": KEY}, json={}, to=other)
    assert (count(app, Job), count(app, IdempotencyKey)) == (1, 1)


def test_where_keys_are_required_nothing_is_made_without_one(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    other = build(idempotency_required=True)
    refused = send(key=None, json={}, to=other)
    assert refused.status_code == 400
    assert "Idempotency-Key" in refused.get_json()["detail"]
    made = send(json={}, to=other)
    assert made.status_code == 202
    # What makes nothing new needs none.
    cancel = f"/api/v1/queue/jobs/{made.get_json()['id']}"
    assert send(key=None, url=cancel, method="DELETE", to=other).status_code == 200
    assert count(app, Job) == 1


def test_an_answer_that_is_shown_once_is_kept_nowhere(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    def make() -> Response:
        return shown_once(Response("swy_secret", 201, headers={"Location": "/swy_secret"}))

    other = build(make)
    first, again = (send(url=OWN, json={}, to=other) for _ in range(2))
    assert (first.status_code, first.text) == (201, "swy_secret")
    assert again.status_code == 409
    assert "Retry-After" not in again.headers
    assert "swy_secret" not in again.text
    with app.app_context(), reading() as session:
        row = session.scalars(select(IdempotencyKey)).one()
    assert (row.status, row.headers, row.body) == (201, [], None)


def test_a_cookie_is_kept_nowhere(build: Callable[..., Flask], app: Flask, send: Send) -> None:
    def make() -> Response:
        return Response("made", 201, headers={"Set-Cookie": "session=secret", "ETag": '"1"'})

    other = build(make)
    first, again = (send(url=OWN, json={}, to=other) for _ in range(2))
    assert "secret" in first.headers["Set-Cookie"]
    assert (again.text, again.headers["ETag"]) == ("made", '"1"')
    assert "Set-Cookie" not in again.headers
    with app.app_context(), reading() as session:
        assert "secret" not in str(session.scalars(select(IdempotencyKey.headers)).one())


def enqueue_one() -> Response:
    job = enqueue(db.session, "test_echo", {}, by=COMMAND, now=now())
    db.session.commit()
    return Response(str(job.id), 201, headers={"Location": f"/{job.id}"})


def test_what_was_taken_for_dead_changes_nothing_when_it_wakes(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    begun: list[Future[TestResponse]] = []

    def sleep_first() -> Response:
        if not begun:
            with transaction() as session:
                session.execute(update(IdempotencyKey).values(claimed_at=now() - CLAIM_LASTS))
            begun.append(pool.submit(send, url=OWN, json={}, to=other))
            wait(begun)
        return enqueue_one()

    other = build(sleep_first)
    with ThreadPoolExecutor(1) as pool:
        late = send(url=OWN, json={}, to=other)
    meanwhile = begun[0].result()
    assert (meanwhile.status_code, late.status_code) == (201, 409)
    assert send(url=OWN, json={}, to=other).data == meanwhile.data
    assert count(app, Job) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(OperationalError("COMMIT", {}, Exception("gone")), 503), (ValueError("a bug"), 500)],
)
def test_what_fails_at_its_commit_has_no_effect_and_releases_the_key(
    build: Callable[..., Flask], app: Flask, send: Send, error: Exception, status: int
) -> None:
    failures = [error]

    def fail(session: Session) -> None:
        del session
        if failures:
            raise failures.pop()

    def make() -> Response:
        answer = enqueue_one()
        event.listen(db.session(), "before_commit", fail)
        return answer

    other = build(make)
    assert send(url=OWN, json={}, to=other).status_code == status
    assert (count(app, Job), count(app, IdempotencyKey)) == (0, 0)
    assert send(url=OWN, json={}, to=other).status_code == 201
    assert count(app, Job) == 1


def test_what_waits_for_the_commit_waits_for_the_answer_too(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    told: list[int] = []

    def make() -> Response:
        answer = enqueue_one()
        after_commit(db.session, lambda: told.append(count(app, Job)))
        db.session.commit()
        assert told == []
        return answer

    assert send(url=OWN, json={}, to=build(make)).status_code == 201
    assert told == [1]


def test_what_a_view_commits_before_it_refuses_stands(
    build: Callable[..., Flask], app: Flask, send: Send
) -> None:
    """As without a key; only the answer is not kept."""

    def refuse() -> Response:
        enqueue_one()
        return Response("no", 409)

    assert send(url=OWN, json={}, to=build(refuse)).status_code == 409
    assert (count(app, Job), count(app, IdempotencyKey)) == (1, 0)

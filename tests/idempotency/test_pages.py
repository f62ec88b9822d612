"""The page Idempotency keys: what was sent, what came again, and one key found."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import update

from tests.conftest import ConsoleClient
from webapp.clock import now
from webapp.db import transaction
from webapp.idempotency.models import IdempotencyKey
from webapp.idempotency.service import claim
from webapp.idempotency.values import MAX_KEY, Slot

PATH = "/idempotency-keys"
URL = "/api/v1/queue/jobs/test_echo"


def ask(client: ConsoleClient, key: str, **body: object) -> None:
    client.post(URL, json=body, headers={"Idempotency-Key": key})


def test_without_any_key_it_says_what_they_are_for(viewer: ConsoleClient) -> None:
    page = viewer.get(PATH).text
    assert "No key is kept" in page
    assert "Idempotency-Key" in page


def test_it_tells_what_was_sent_and_how_often_it_came_again(operator: ConsoleClient) -> None:
    for _ in range(3):
        ask(operator, "order-1")
    ask(operator, "order-1", priority=3)
    ask(operator, "order-2")
    page = " ".join(operator.htmx(PATH, "idempotency-table").text.split())
    assert page.index("order-2") < page.index("order-1")
    assert "POST /api/v1/queue/jobs/test_echo" in page
    assert page.count("Answered 202") == 2
    assert 'data-label="Replayed">2<' in page
    assert 'data-label="Refused">1<' in page
    again = operator.get(f"{PATH}?show=repeated").text
    assert "order-1" in again
    assert "order-2" not in again


def test_one_key_is_found_by_the_whole_of_it(operator: ConsoleClient) -> None:
    ask(operator, "order-1")
    ask(operator, "order-12")
    page = operator.get(f"{PATH}?q=order-1").text
    assert 'table__main">order-1<' in page
    assert "order-12" not in page
    assert "No key fits" in operator.get(f"{PATH}?q=order").text


def test_the_longest_key_is_found_too(operator: ConsoleClient) -> None:
    longest = "k" * MAX_KEY
    ask(operator, longest)
    assert f'table__main">{longest}<' in operator.get(PATH, query_string={"q": longest}).text


def test_a_request_without_an_answer_is_running_lost_or_expired(
    app: Flask, viewer: ConsoleClient
) -> None:
    slot = Slot("token:shop", "order-1", "POST /a", "f" * 64)
    with app.app_context(), transaction() as session:
        claim(session, slot, lasts=timedelta(days=1), now=now())
    assert "Running" in viewer.get(PATH).text
    with app.app_context(), transaction() as session:
        session.execute(update(IdempotencyKey).values(claimed_at=now() - timedelta(minutes=2)))
    assert "Lost" in viewer.get(PATH).text
    with app.app_context(), transaction() as session:
        session.execute(update(IdempotencyKey).values(expires_at=now()))
    assert "Expired" in viewer.get(PATH).text

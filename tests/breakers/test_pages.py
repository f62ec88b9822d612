"""The Breakers page: what it shows, to whom, and at what cost."""

from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from tests.breakers.test_service import add, breaker_rows, open_it
from webapp import clock
from webapp.db import db, transaction

NAME = "source:airports"


@pytest.fixture
def opened(app: Flask) -> datetime:
    """A circuit that has just opened."""
    moment = clock.now()
    with app.app_context(), transaction() as session:
        add(session, NAME, moment)
        add(session, "billing", moment)
        open_it(session, NAME, moment)
    return moment


def test_the_page_lists_every_circuit_with_its_state_and_cause(
    viewer: Any, opened: datetime
) -> None:
    page = viewer.get("/breakers")
    assert page.status_code == 200
    for text in (NAME, "Open", "5 of 5", "ConnectionResetError: peer", "billing", "Closed"):
        assert text in page.text
    assert "/reset" not in page.text


def test_the_live_part_answers_without_the_shell_and_with_304_when_nothing_changed(
    operator: Any, app: Flask
) -> None:
    with app.app_context(), transaction() as session:
        add(session, "billing", clock.now())
    first = operator.htmx("/breakers", "breakers-table")
    assert first.text.lstrip().startswith('<section id="breakers-table"')
    again = operator.htmx(
        "/breakers", "breakers-table", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


def test_an_empty_page_says_where_breakers_come_from(viewer: Any) -> None:
    assert "No breakers yet" in viewer.get("/breakers").text


def test_an_operator_resets_a_circuit_with_a_reason(
    operator: Any, app: Flask, opened: datetime
) -> None:
    answer = operator.post(f"/breakers/{NAME}/reset", data={"reason": "the file is back"})
    assert answer.status_code == 303
    assert "closed again" in operator.get(answer.location).text
    with app.app_context():
        assert {row.state for row in breaker_rows(db.session(), now=clock.now())} == {"closed"}


def test_a_reset_without_a_reason_is_refused(operator: Any, opened: datetime) -> None:
    assert operator.post(f"/breakers/{NAME}/reset", data={"reason": " "}).status_code == 422


def test_a_viewer_may_not_reset(viewer: Any, opened: datetime) -> None:
    assert viewer.post(f"/breakers/{NAME}/reset", data={"reason": "x"}).status_code == 403


def test_the_navigation_counts_the_circuits_that_are_not_closed(
    viewer: Any, opened: datetime
) -> None:
    menu = viewer.get("/breakers").text
    assert 'aria-current="page"' in menu
    assert "1" in menu.partition("Breakers")[2][:400]


def test_the_list_costs_as_many_statements_for_forty_circuits_as_for_one(
    viewer: Any, app: Flask
) -> None:
    def count() -> int:
        statements: list[str] = []

        def note(*arguments: Any) -> None:
            statements.append(arguments[2])

        with app.app_context():
            engine = db.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            assert viewer.htmx("/breakers", "breakers-table").status_code == 200
        finally:
            event.remove(engine, "before_cursor_execute", note)
        return len(statements)

    few = count()
    with app.app_context(), transaction() as session:
        for number in range(40):
            add(session, f"service-{number}", clock.now())
            open_it(session, f"service-{number}", clock.now())
    assert count() <= max(few, 5)

"""The Breakers page: what it shows, to whom, and at what cost."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from tests.breakers.test_service import add, breaker_rows, open_it
from webapp import clock
from webapp.breakers.recording import add_tallies
from webapp.breakers.values import Tally
from webapp.db import db, transaction
from webapp.limits.service import record_pause
from webapp.limits.values import Pause

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


@pytest.fixture
def paused(app: Flask, opened: datetime) -> datetime:
    """Calls of that name are paused too."""
    with app.app_context(), transaction() as session:
        pause = Pause(opened + timedelta(hours=1), "It answered 401 Unauthorized.")
        record_pause(session, NAME, pause, now=opened)
    return opened


def test_a_pause_of_its_calls_is_shown_and_lifted_with_a_reason(
    operator: Any, paused: datetime
) -> None:
    url = f"/breakers/{NAME}"
    page = operator.get(url).text
    for text in ("No call goes out.", "It answered 401 Unauthorized.", f"{url}/pause/lift"):
        assert text in page
    assert operator.post(f"{url}/pause/lift", data={"reason": " "}).status_code == 422
    answer = operator.post(f"{url}/pause/lift", data={"reason": "the key is renewed"})
    assert (answer.status_code, answer.location) == (303, url)
    assert "No call goes out." not in operator.get(url).text
    assert operator.post(f"{url}/pause/lift", data={"reason": "again"}).status_code == 409


def test_a_viewer_sees_a_pause_and_may_not_lift_it(viewer: Any, paused: datetime) -> None:
    page = viewer.get(f"/breakers/{NAME}").text
    assert "No call goes out." in page
    assert "/pause/lift" not in page
    assert viewer.post(f"/breakers/{NAME}/pause/lift", data={"reason": "x"}).status_code == 403


def test_calls_that_all_are_neutral_make_no_rate_and_are_told(
    viewer: Any, app: Flask, opened: datetime
) -> None:
    with app.app_context(), transaction() as session:
        add_tallies(session, {NAME: Tally(calls=1234, neutral=1234)}, now=opened)
    assert viewer.get("/breakers").status_code == 200
    page = viewer.get(f"/breakers/{NAME}").text
    assert "1,234 that say nothing about the service" in page
    assert "no calls" in page


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


def test_a_reset_that_htmx_asks_for_is_a_toast(operator: Any, opened: datetime) -> None:
    answer = operator.htmx(f"/breakers/{NAME}/reset", method="POST", data={"reason": "mended"})
    assert answer.status_code == 204
    assert "closed again" in answer.headers["HX-Trigger"]


def test_the_page_of_one_shows_its_history_and_what_may_be_done(
    operator: Any, opened: datetime
) -> None:
    page = operator.get(f"/breakers/{NAME}").text
    for text in ("Opened", "ConnectionResetError: peer", "Save thresholds", "Force breaker"):
        assert text in page
    assert operator.get("/breakers/nothing").status_code == 404


def test_a_viewer_sees_the_thresholds_and_no_form(viewer: Any, opened: datetime) -> None:
    page = viewer.get(f"/breakers/{NAME}").text
    assert "Failures in a row" in page
    for text in ("Save thresholds", "Force breaker", "/reset"):
        assert text not in page


FIELDS = {
    "failures": "5",
    "failure_rate": "",
    "window_seconds": "60",
    "window_calls": "10",
    "slow_seconds": "",
    "slow_rate": "50",
    "open_seconds": "30",
    "growth": "1",
    "max_open_seconds": "300",
    "successes": "2",
    "trial_seconds": "30",
    "reason": "too eager",
    "version": "0",
}


def test_thresholds_that_are_typed_are_saved(operator: Any, opened: datetime) -> None:
    answer = operator.post(f"/breakers/{NAME}/thresholds", data=FIELDS | {"failures": "7"})
    assert answer.status_code == 303
    page = operator.get(answer.location).text
    assert "changed here, version 1" in page
    assert "5 of 7" in page
    answer = operator.post(f"/breakers/{NAME}/thresholds/restore", data={"reason": "no"})
    assert answer.status_code == 303
    assert "as the code says" in operator.get(answer.location).text


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"failures": "many"}, "A number from 1 to 1000."),
        ({"failures": "0"}, "A whole number from 1 to 1000."),
        ({"open_seconds": "nan"}, "A number from 0.1 to 86400."),
        ({"reason": ""}, "Say why the thresholds change."),
    ],
)
def test_what_is_typed_wrong_stays_with_its_message(
    operator: Any, opened: datetime, typed: dict[str, str], message: str
) -> None:
    answer = operator.htmx(
        f"/breakers/{NAME}/thresholds",
        "breakers-thresholds",
        method="POST",
        data=FIELDS | {"growth": "1.25"} | typed,
    )
    assert answer.status_code == 422
    assert message in answer.text
    assert 'value="1.25"' in answer.text
    assert answer.text.lstrip().startswith('<section id="breakers-thresholds"')


def test_who_is_overtaken_may_save_over_it(operator: Any, opened: datetime) -> None:
    url = f"/breakers/{NAME}/thresholds"
    assert operator.post(url, data=FIELDS | {"failures": "7"}).status_code == 303
    answer = operator.post(url, data=FIELDS | {"failures": "8"})
    assert answer.status_code == 409
    assert 'name="version" value="1"' in answer.text
    assert operator.post(url, data=FIELDS | {"failures": "8", "version": "1"}).status_code == 303


def test_an_operator_forces_it_and_ends_that(operator: Any, opened: datetime) -> None:
    url = f"/breakers/{NAME}/force"
    typed = {"force": "open", "minutes": "60", "reason": "their maintenance"}
    for wrong in ({"reason": ""}, {"force": "none"}, {"minutes": "61"}):
        assert operator.post(url, data=typed | wrong).status_code == 422
    answer = operator.post(url, data=typed)
    assert answer.status_code == 303
    page = operator.get(answer.location).text
    for text in ("Every call is refused.", "their maintenance", "End force"):
        assert text in page
    assert "Forced open" in operator.get("/breakers?state=forced_open").text
    answer = operator.post(f"/breakers/{NAME}/release", data={"reason": "over"})
    assert "Every call is refused." not in operator.get(answer.location).text
    assert operator.post(f"/breakers/{NAME}/release", data={"reason": "x"}).status_code == 409


def test_the_list_is_narrowed_by_state_and_name(viewer: Any, opened: datetime) -> None:
    assert "billing" not in viewer.htmx("/breakers?state=open", "breakers-table").text
    assert NAME not in viewer.htmx("/breakers?q=BILL", "breakers-table").text
    assert "No breaker matches" in viewer.htmx("/breakers?q=nothing", "breakers-table").text
    assert viewer.get("/breakers?after=x&before=1:&state=odd").status_code == 200

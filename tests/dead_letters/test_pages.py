"""The pages Dead letters and Dead letter."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.actors import SYSTEM
from webapp.audit.service import history
from webapp.clock import now
from webapp.db import transaction
from webapp.dead_letters import service
from webapp.dead_letters.values import Cause, Reason
from webapp.jobs import attempts
from webapp.jobs.attempts import Failure
from webapp.jobs.service import enqueue, find_job
from webapp.jobs.values import JobState

Write = Callable[..., int]


@pytest.fixture
def write(app: Flask) -> Write:
    """Write the letter of one dead job, and return the letter's id."""

    def make(message: str = "row 7 is broken") -> int:
        failure = Failure("bug", "ValueError", message, "Traceback …")
        cause = Cause(Reason.NOT_RETRYABLE, "bug", "ValueError", message, "Traceback …")
        with app.app_context(), transaction() as session:
            job = enqueue(session, "test_echo", {}, by=SYSTEM, now=now())
            held = attempts.claim(session, job.id, worker="w", lease_seconds=9, now=now())
            assert held is not None
            attempts.bury(session, held, failure, now=now())
            return service.write(session, job.id, cause, now=now()).id

    return make


def test_the_list_shows_open_letters_and_the_menu_counts_them(
    viewer: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    page = viewer.get("/dead-letters/list").text
    assert f'id="letter-{letter_id}"' in page
    assert "row 7 is broken" in page
    assert 'class="count count--danger">1<' in page


def test_letters_of_one_trouble_are_found_together(viewer: ConsoleClient, write: Write) -> None:
    one, same, other = write("row 7 is broken"), write("row 8 is broken"), write("no disk")
    page = viewer.get(f"/dead-letters/{one}").text
    link = page.split("fingerprint=")[1].split('"')[0].split("&")[0]
    listed = viewer.get(f"/dead-letters/list?fingerprint={link}").text
    assert f'id="letter-{one}"' in listed
    assert f'id="letter-{same}"' in listed
    assert f'id="letter-{other}"' not in listed


def test_a_retry_queues_the_job_and_keeps_the_letter_open(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    assert operator.post(f"/dead-letters/{letter_id}/retry").status_code == 303
    with app.app_context(), transaction() as session:
        letter = service.find_letter(session, letter_id)
        assert letter.resolved_at is None
        assert find_job(session, letter.job_id).state == JobState.QUEUED


def test_a_second_retry_is_refused_while_the_first_is_under_way(
    operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    operator.post(f"/dead-letters/{letter_id}/retry")
    answer = operator.htmx(f"/dead-letters/{letter_id}/retry", method="POST")
    assert answer.status_code == 409


def test_resolving_needs_notes_and_keeps_them_in_the_audit(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    refused = operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "  "})
    assert refused.status_code == 422
    assert "say why this needs no retry" in refused.text
    done = operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "A test row."})
    assert done.status_code == 303
    with app.app_context(), transaction() as session:
        (entry,) = history(session, "dead_letter", str(letter_id))
    assert (entry.actor, entry.reason) == ("operator", "A test row.")
    assert f'id="letter-{letter_id}"' not in operator.get("/dead-letters/list").text
    assert f'id="letter-{letter_id}"' in operator.get("/dead-letters/list?status=resolved").text


def test_notes_have_at_most_500_characters(operator: ConsoleClient, write: Write) -> None:
    url = f"/dead-letters/{write()}/resolve"
    refused = operator.post(url, data={"notes": "n" * 501})
    assert refused.status_code == 422
    assert "Use at most 500 characters, not 501." in refused.text
    assert operator.post(url, data={"notes": "n" * 500}).status_code == 303


def test_a_resolved_letter_is_not_resolved_again(operator: ConsoleClient, write: Write) -> None:
    letter_id = write()
    operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "Once."})
    again = operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "Twice."})
    assert again.status_code == 409
    assert "resolved by operator" in again.text


def test_a_viewer_changes_nothing(viewer: ConsoleClient, write: Write) -> None:
    letter_id = write()
    assert "Retry" not in viewer.get("/dead-letters/list").text
    for action in ("retry", "resolve"):
        assert viewer.post(f"/dead-letters/{letter_id}/{action}").status_code == 403

"""What is done to many jobs from the list: asked first, at once or by a job."""

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import ConsoleClient
from tests.jobs.many import counts, make
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_each
from webapp.db import reading
from webapp.jobs import service


def test_the_question_names_the_action_the_count_and_some_of_the_jobs(
    app: Flask, operator: ConsoleClient
) -> None:
    dead = make(app, 12, state="dead")
    make(app, 3)
    page = operator.get("/jobs/bulk?action=retry&scope=all&type=test_echo").text
    assert "Retry 12 jobs?" in page
    assert f"test_echo {dead[0]}" in page
    assert f"test_echo {dead[11]}" not in page
    assert "type <strong>test_echo</strong>" in page
    assert counts(app) == {"dead": 12, "queued": 3}


def test_those_selected_are_changed_and_the_rest_is_not(
    app: Flask, operator: ConsoleClient
) -> None:
    dead = make(app, 3, state="dead")
    page = operator.get(f"/jobs/bulk?action=retry&scope=selected&id={dead[0]}&id={dead[1]}").text
    assert "Retry 2 jobs?" in page
    answer = operator.post(
        "/jobs/bulk", data={"action": "retry", "scope": "selected", "id": dead[:2]}
    )
    assert (answer.status_code, answer.location) == (303, "/jobs")
    assert "2 jobs are queued again." in operator.get("/jobs").text
    assert counts(app) == {"queued": 2, "dead": 1}


def test_a_refusal_is_told_with_its_reason(app: Flask, operator: ConsoleClient) -> None:
    ids = make(app, 1, state="dead") + make(app, 1)
    page = operator.get("/jobs/bulk", query_string={"action": "retry", "id": ids}).text
    assert "1 of the 2" in page
    operator.post("/jobs/bulk", data={"action": "retry", "id": ids})
    told = operator.get("/jobs").text
    assert f"1 job is queued again. 1 refused; the first: Job {ids[1]} is queued." in told


def test_jobs_that_came_after_the_question_are_left_alone(
    app: Flask, operator: ConsoleClient
) -> None:
    (seen,) = make(app, 1, state="dead")
    page = operator.get("/jobs/bulk?action=retry&scope=all").text
    assert f'name="until" value="{seen}"' in page
    make(app, 1, state="dead")
    operator.post("/jobs/bulk", data={"action": "retry", "scope": "all", "until": str(seen)})
    assert counts(app) == {"queued": 1, "dead": 1}


def test_many_are_done_by_a_job(app: Flask, operator: ConsoleClient) -> None:
    make(app, 101, state="dead")
    answer = operator.post("/jobs/bulk", data={"action": "retry", "scope": "all"})
    assert answer.status_code == 303
    page = operator.get(answer.location).text
    assert "job-bulk" in page
    assert "does it: see its progress here." in page


def test_the_list_that_follows_has_the_same_filters(app: Flask, operator: ConsoleClient) -> None:
    make(app, 1, state="dead")
    body = {"action": "retry", "scope": "all", "state": "dead", "text": "test echo"}
    answer = operator.post("/jobs/bulk", data=body)
    assert answer.location == "/jobs?state=dead&q=test+echo"


def test_a_priority_is_asked_for_and_what_was_typed_stays(
    app: Flask, operator: ConsoleClient
) -> None:
    (job_id,) = make(app, 1)
    body = {"action": "reprioritize", "scope": "selected", "id": job_id, "reason": "Urgent"}
    for typed in ("", "101", "high"):
        answer = operator.post("/jobs/bulk", data=body | {"priority": typed})
        assert answer.status_code == 422
        assert 'id="field-priority-errors"' in answer.text
        assert f'value="{typed}"' in answer.text
        assert 'value="Urgent"' in answer.text
    assert operator.post("/jobs/bulk", data=body | {"priority": "99"}).status_code == 303
    with app.app_context(), reading() as session:
        assert service.find_job(session, job_id).priority == 99


def test_nothing_selected_is_said(operator: ConsoleClient) -> None:
    operator.get("/jobs/bulk?action=retry&scope=selected")
    assert "No job is selected." in operator.get("/jobs").text
    assert operator.post("/jobs/bulk", data={"action": "retry"}).status_code == 422


def test_an_operator_is_not_offered_to_cancel_and_may_not(
    app: Flask, operator: ConsoleClient
) -> None:
    ids = make(app, 1)
    page = operator.get("/jobs").text
    assert '<option value="retry">' in page
    assert '<option value="cancel">' not in page
    assert operator.get(f"/jobs/bulk?action=cancel&id={ids[0]}").status_code == 403
    assert operator.post("/jobs/bulk", data={"action": "cancel", "id": ids}).status_code == 403
    assert counts(app) == {"queued": 1}


def test_a_viewer_is_offered_nothing_to_select(app: Flask, viewer: ConsoleClient) -> None:
    make(app, 1)
    assert "data-tick" not in viewer.get("/jobs").text
    assert viewer.get("/jobs/bulk?action=retry&scope=all").status_code == 403


def test_an_action_that_there_is_not_is_said(operator: ConsoleClient) -> None:
    assert operator.get("/jobs/bulk?action=explode&scope=all").status_code == 404


def test_a_filter_that_cannot_be_read_widens_nothing(app: Flask, operator: ConsoleClient) -> None:
    make(app, 1, state="dead")
    for path in ("/jobs", "/jobs/bulk"):
        query = {"action": "retry", "scope": "all", "created_from": "tomorrow"}
        assert operator.get(path, query_string=query).status_code == 422


ACT = "POST /jobs/bulk"


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_whatever_is_sent_is_answered(admin: ConsoleClient, odd: bytes) -> None:
    names: tuple[str, ...] = ("action", "scope", "id", "until", "priority", "reason", "state")
    names += ("text", "batch", "created_from", "finished_to", "q", "sort")
    good: Fields = {"action": "reprioritize", "scope": "all", "priority": "5"}

    def ask(place: str, fields: Fields) -> TestResponse:
        ask_by = admin.send_form if place == ACT else admin.look_for
        return ask_by("/jobs" if place == "/jobs" else "/jobs/bulk", fields)

    ask_with_each(ask, [ACT, "/jobs/bulk", "/jobs"], good, names, odd)

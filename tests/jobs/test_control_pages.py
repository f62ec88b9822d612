"""The page Job types: pauses with a reason, and policies that nobody overwrites unseen."""

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, form_body
from webapp.db import reading
from webapp.jobs.control import find_setting
from webapp.jobs.models import JobTypeSetting

URL = "/jobs/types/etl"


def setting(app: Flask) -> JobTypeSetting | None:
    with app.app_context(), reading() as session:
        return find_setting(session, "etl")


def test_the_page_lists_types_and_queues(viewer: ConsoleClient) -> None:
    page = viewer.get("/jobs/types").text
    assert "Ingest one source" in page
    assert 'id="queue-default"' in page
    assert "/pause" not in page


@pytest.mark.parametrize("place", ["/jobs/types/etl", "/jobs/queues/default"])
def test_an_operator_pauses_with_a_reason_and_resumes(operator: ConsoleClient, place: str) -> None:
    asked = operator.post(f"{place}/pause")
    assert asked.status_code == 422
    assert "Reason" in asked.text
    assert operator.post(f"{place}/pause", data={"reason": "Calm"}).status_code == 303
    for path in ("/jobs/types", "/jobs"):
        assert "Calm" in operator.get(path).text
    assert operator.post(f"{place}/pause", data={"reason": "Calm"}).status_code == 409
    assert operator.post(f"{place}/resume").status_code == 303
    assert "Calm" not in operator.get("/jobs").text


def test_a_job_that_waits_says_what_holds_it_back(operator: ConsoleClient) -> None:
    operator.post("/jobs/queues/slow/pause", data={"reason": "The lake is frozen"})
    body = {"type": "test_echo", "queue": "slow"}
    page = operator.get(operator.post("/jobs", data=body).location).text
    assert "The queue slow is paused." in page
    assert "The lake is frozen" in page


def test_an_admin_sets_a_policy_and_takes_it_back(app: Flask, admin: ConsoleClient) -> None:
    body = {"version": "0", "max_retries": "9", "jitter": "0.5", "reason": "Flaky host"}
    assert admin.post(URL, data=body).status_code == 303
    page = admin.get(URL).text
    assert 'value="9"' in page
    assert "Flaky host" in page
    found = setting(app)
    assert found is not None
    assert (found.max_retries, found.jitter, found.initial_delay) == (9, 0.5, None)
    assert admin.post(URL, data={"version": str(found.version)}).status_code == 303
    found = setting(app)
    assert found is not None
    assert found.max_retries is None


@pytest.mark.parametrize(
    ("field", "typed"), [("max_retries", "1.5"), ("jitter", "2"), ("timeout", "nan")]
)
def test_what_cannot_be_is_told_at_its_field(
    app: Flask, admin: ConsoleClient, field: str, typed: str
) -> None:
    answer = admin.post(URL, data={"version": "0", field: typed, "reason": "Mine"})
    assert answer.status_code == 422
    assert f'id="field-{field}-errors"' in answer.text
    assert f'value="{typed}"' in answer.text
    assert 'value="Mine"' in answer.text
    found = setting(app)
    assert found is None or getattr(found, field) is None


def test_whoever_saves_second_is_told_and_may_save_over_it(
    app: Flask, admin: ConsoleClient
) -> None:
    admin.post(URL, data={"version": "0", "max_retries": "9"})
    late = {"version": "0", "max_retries": "1"}
    refused = admin.post(URL, data=late)
    assert refused.status_code == 409
    assert "has changed meanwhile" in refused.text
    assert 'value="1"' in refused.text
    found = setting(app)
    assert found is not None
    assert found.max_retries == 9
    admin.post(URL, data=late | {"version": str(found.version)})
    found = setting(app)
    assert found is not None
    assert found.max_retries == 1


def test_an_operator_sees_the_policy_and_cannot_change_it(operator: ConsoleClient) -> None:
    page = operator.get(URL).text
    assert "First delay" in page
    assert 'name="max_retries"' not in page
    assert operator.post(URL, data={}).status_code == 403


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_whatever_is_sent_is_answered(admin: ConsoleClient, odd: bytes) -> None:
    for name in ("max_retries", "initial_delay", "timeout", "reason", "version"):
        assert admin.post(URL, **form_body({name: odd})).status_code < 500
    for place in (URL, "/jobs/queues/default"):
        for action in ("pause", "resume"):
            answer = admin.post(f"{place}/{action}", **form_body({"reason": odd}))
            assert answer.status_code < 500

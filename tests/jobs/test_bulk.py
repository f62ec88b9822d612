"""One thing done to many jobs: over JSON, at once or by a job, each job or not at all."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tasks.work import run
from tests.conftest import ConsoleClient
from tests.jobs.many import counts, make
from webapp.accounts.service import create_token
from webapp.actors import COMMAND, SYSTEM
from webapp.audit.models import AuditEntry
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.errors import Invalid
from webapp.jobs import bulk, service
from webapp.jobs.bulk import BULK_TYPE, BulkAction, Order, carry_out, survey
from webapp.jobs.filters import JobFilters
from webapp.jobs.models import Job
from webapp.jobs.registry import find_job_type
from webapp.jobs.values import JobState
from webapp.jobs.wishes import JobOptions
from webapp.roles import Role

URL = "/api/v1/queue/bulk"


@pytest.fixture
def headers(app: Flask, request: pytest.FixtureRequest) -> dict[str, str]:
    role = getattr(request, "param", Role.ADMIN)
    with app.app_context(), transaction() as session:
        token = create_token(session, "ops", role=role, by=COMMAND, now=now())
    return {"Authorization": f"Bearer {token.text}"}


def test_a_dry_run_counts_and_changes_nothing(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    make(app, 12, state="dead")
    make(app, 2)
    body = {"action": "retry", "filter": {"type": "test_echo"}, "dry_run": True}
    answer = client.post(URL, json=body, headers=headers).get_json()
    assert (answer["count"], answer["capped"], answer["states"]) == (12, False, {"dead": 12})
    assert len(answer["sample"]) == 10
    assert counts(app) == {"dead": 12, "queued": 2}


def test_few_are_changed_at_once_and_refusals_say_why(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    dead, waiting = make(app, 3, state="dead"), make(app, 1)
    body = {"action": "retry", "ids": [*dead, *waiting], "reason": "The host is back"}
    answer = client.post(URL, json=body, headers=headers).get_json()
    assert answer["done"] == 3
    assert answer["refused"] == [{"id": waiting[0], "why": f"Job {waiting[0]} is queued."}]
    assert counts(app) == {"queued": 4}
    with app.app_context(), reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.subject == "job_bulk")).one()
        assert (entry.name, entry.actor, entry.reason) == ("retry", "ops", "The host is back")
        retried = select(func.count()).where(AuditEntry.action == "job.retried")
        assert session.scalar(retried) == 3


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("retry", {"dead": 1, "canceled": 1}, {"queued": 2}),
        ("run_now", {"scheduled": 1, "retrying": 1}, {"queued": 2}),
        ("cancel", {"scheduled": 1, "queued": 1, "retrying": 1}, {"canceled": 3}),
    ],
)
def test_an_action_by_filter_means_the_jobs_that_let_it_be_done(
    app: Flask,
    client: ConsoleClient,
    headers: dict[str, str],
    action: str,
    before: dict[str, int],
    after: dict[str, int],
) -> None:
    for each in JobState:
        make(app, 1, state=each)
    answer = client.post(URL, json={"action": action, "filter": {}}, headers=headers).get_json()
    assert (answer["done"], answer["refused"]) == (sum(before.values()) + (action == "cancel"), [])
    expected = dict.fromkeys(map(str, JobState), 1)
    for state, count in before.items():
        expected[state] -= count
    for state, count in after.items():
        expected[state] += count
    assert counts(app) == {state: count for state, count in expected.items() if count}


def test_a_priority_is_changed_where_it_still_counts(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    (waiting,), (ended,) = make(app, 1), make(app, 1, state="succeeded")
    body = {"action": "reprioritize", "ids": [waiting, ended], "priority": 99}
    answer = client.post(URL, json=body, headers=headers).get_json()
    assert (answer["done"], [item["id"] for item in answer["refused"]]) == (1, [ended])
    with app.app_context(), reading() as session:
        assert service.find_job(session, waiting).priority == 99


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "explode", "ids": [1]}, "action"),
        ({"action": "retry"}, "ids"),
        ({"action": "retry", "ids": [1], "filter": {}}, "ids"),
        ({"action": "retry", "ids": []}, "ids"),
        ({"action": "retry", "ids": [2**70]}, "ids.0"),
        ({"action": "retry", "filter": {"state": "gone"}}, "state"),
        ({"action": "retry", "filter": {"sate": "dead"}}, "filter.sate"),
        ({"action": "reprioritize", "ids": [1]}, "priority"),
        ({"action": "reprioritize", "ids": [1], "priority": 101}, "priority"),
        ({"action": "retry", "ids": [1], "reason": "x" * 501}, "reason"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_by_field(
    client: ConsoleClient, headers: dict[str, str], body: dict[str, Any], field: str
) -> None:
    answer = client.post(URL, json=body, headers=headers)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [field])


@pytest.mark.parametrize("headers", [Role.OPERATOR], indirect=True)
def test_an_operator_may_retry_but_not_cancel(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    ids = make(app, 1)
    for dry_run in (True, False):
        body = {"action": "cancel", "ids": ids, "dry_run": dry_run}
        assert client.post(URL, json=body, headers=headers).status_code == 403
    assert counts(app) == {"queued": 1}


def test_many_are_changed_by_a_job_that_leaves_later_ones_alone(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    make(app, 250, state="dead")
    answer = client.post(URL, json={"action": "retry", "filter": {}}, headers=headers)
    assert answer.status_code == 202
    job_id = answer.get_json()["job_id"]
    assert answer.headers["Location"].endswith(f"/{job_id}")
    assert counts(app) == {"dead": 250}
    make(app, 5, state="dead")
    assert run(app, job_id, worker="w")
    assert counts(app) == {"queued": 250, "dead": 5}
    with app.app_context(), reading() as session:
        done = service.find_job(session, job_id)
        assert done.result == {"done": 250, "refused": 0, "refusals": []}
        assert (done.progress_done, done.progress_total) == (250, 250)
        by = select(AuditEntry.actor).where(AuditEntry.action == "job.retried").distinct()
        assert session.scalars(by).all() == ["ops"]


def test_a_bulk_job_that_was_interrupted_goes_on_where_it_was(
    app: Flask,
    client: ConsoleClient,
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(app, 250)
    body = {"action": "cancel", "filter": {"state": "queued", "text": "test_echo"}}
    job_id = client.post(URL, json=body, headers=headers).get_json()["job_id"]
    batches = 0

    def fail_in_the_second(*args: Any, **options: Any) -> bulk.Outcome:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise ConnectionError
        return carry_out(*args, **options)

    monkeypatch.setitem(
        find_job_type(BULK_TYPE).function.__globals__, "carry_out", fail_in_the_second
    )
    run(app, job_id, worker="w")
    assert counts(app) == {"canceled": 100, "queued": 150}
    run(app, job_id, worker="w", early=True)
    assert counts(app) == {"canceled": 250}
    with app.app_context(), reading() as session:
        assert service.find_job(session, job_id).result["done"] == 250  # type: ignore[index]


def test_what_waits_for_others_is_not_run_at_once_with_many(app: Flask) -> None:
    (held,) = make(app, 1, state="scheduled", held=True)
    with app.app_context(), transaction() as session:
        order = Order(action=BulkAction.RUN_NOW, filters=JobFilters())
        assert survey(session, order).total == 0
        assert carry_out(session, order, by=SYSTEM, now=now()).last is None
        assert service.find_job(session, held).state == JobState.SCHEDULED


def test_the_arguments_of_an_order_cannot_be_changed_afterwards(app: Flask) -> None:
    arguments = {"action": "retry", "by_kind": "user", "by_name": "ada"}
    with app.app_context(), transaction() as session:
        options = JobOptions(internal=True)
        job = service.enqueue(session, BULK_TYPE, arguments, by=SYSTEM, now=now(), **options)
        session.execute(update(Job).where(Job.id == job.id).values(state="dead"))
        changed = arguments | {"action": "cancel"}
        with pytest.raises(Invalid, match="by the console itself"):
            service.retry(session, job.id, by=SYSTEM, now=now(), arguments=changed)
        assert service.retry(session, job.id, by=SYSTEM, now=now()).state == JobState.QUEUED

"""What a running job leaves to be read: the lines of its log, and what flags answered to it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select

from tasks import job_log
from tasks.work import run
from webapp.actors import COMMAND, SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.flags import evaluate, is_enabled
from webapp.flags.decorators import MOST_DIFFERENT, MOST_NOTED, noting_answers
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft, Variant
from webapp.jobs import service
from webapp.jobs.attempts import claim
from webapp.jobs.journal import FULL, MOST_BYTES, MOST_LINES
from webapp.jobs.models import JobAttempt, JobLogLine
from webapp.jobs.registry import JobArguments, _types, job
from webapp.jobs.values import JobContext, JobState, RetryPolicy


class SayArguments(JobArguments):
    """How much is said, and until which attempt the job then fails."""

    lines: int = 1
    fail_until: int = 0
    seconds: float = 0.0


class Odd:
    """What cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError


#: Set by a test: what the job says, and which flags it asks.
FACTS: dict[str, Any] = {}
ASKED: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def say(app: Flask) -> Iterator[None]:
    """A type of job that says something."""

    @job("test_say", SayArguments, policy=RetryPolicy(initial_delay=0.01, jitter=0.0))
    def say(context: JobContext, arguments: SayArguments) -> None:
        """Say something, ask flags, and fail if told to."""
        for number in range(arguments.lines):
            context.log("counted", number=number, **FACTS)
        for name, subject in ASKED:
            is_enabled(name, subject)
        ends = time.monotonic() + arguments.seconds
        while time.monotonic() < ends and not written(context.claim.job_id):
            time.sleep(0.02)
        if context.claim.attempt < arguments.fail_until:
            raise ConnectionError

    FACTS.clear()
    ASKED.clear()
    with app.app_context():
        yield
    del _types["test_say"]


def run_one(app: Flask, **arguments: Any) -> int:
    with transaction() as session:
        job_id = service.enqueue(session, "test_say", arguments, by=SYSTEM, now=now()).id
    for _ in range(5):
        run(app, job_id, worker="w", early=True)
    with reading() as session:
        assert service.find_job(session, job_id).state == JobState.SUCCEEDED
    return job_id


def written(job_id: int) -> list[JobLogLine]:
    with reading() as session:
        lines = select(JobLogLine).where(JobLogLine.job_id == job_id).order_by(JobLogLine.id)
        return list(session.scalars(lines))


def attempts_of(job_id: int) -> list[JobAttempt]:
    with reading() as session:
        rows = select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(JobAttempt.fence)
        return list(session.scalars(rows))


def test_the_lines_of_a_job_are_kept_in_order(app: Flask) -> None:
    lines = written(run_one(app, lines=450))
    assert [line.facts["number"] for line in lines] == list(range(450))
    assert {(line.event, line.level, line.fence) for line in lines} == {("counted", "info", 1)}


def test_secrets_are_masked_before_they_are_written(app: Flask) -> None:
    FACTS.update(password="geheim", url="https://ada:geheim@host/", deep={"api_key": "geheim"})
    (line,) = written(run_one(app))
    assert "geheim" not in str(line.facts)
    assert line.facts["password"] == "[masked]"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**80, 2**80),
        ("\0 and \ud800", "\\0 and \\ud800"),
        (float("nan"), "nan"),
        (b"bytes", "b'bytes'"),
        (Odd(), "(cannot be shown: RuntimeError)"),
    ],
)
def test_whatever_a_job_says_can_be_kept(app: Flask, value: Any, kept: Any) -> None:
    FACTS["value"] = value
    (line,) = written(run_one(app))
    assert line.facts["value"] == kept


def test_a_long_line_is_cut_and_says_so(app: Flask) -> None:
    FACTS["text"] = "ä" * 10_000
    (line,) = written(run_one(app))
    assert line.facts["bytes"] > 10_000
    assert line.facts["cut"].startswith('{"number": 0, "text": "ää')
    assert len(str(line.facts)) < MOST_BYTES


def test_a_log_has_an_end_and_its_last_line_says_so(app: Flask) -> None:
    lines = written(run_one(app, lines=MOST_LINES + 500))
    assert len(lines) == MOST_LINES
    assert (lines[-1].event, lines[-1].level) == (FULL, "warning")
    assert lines[-2].facts["number"] == MOST_LINES - 2


def test_a_later_attempt_pushes_out_the_oldest_lines_of_earlier_ones(app: Flask) -> None:
    lines = written(run_one(app, lines=600, fail_until=2))
    assert len(lines) == MOST_LINES
    assert [line.facts["number"] for line in lines if line.fence == 2] == list(range(600))
    assert next(line for line in lines if line.fence == 1).facts["number"] == 200


def test_lines_show_while_a_job_is_silent(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "EVERY_SECONDS", 0.0)
    # The job itself waits until it sees its line.
    began = now()
    run_one(app, seconds=60.0)
    assert (now() - began).total_seconds() < 60


def test_a_job_that_says_nothing_writes_nothing(app: Flask) -> None:
    assert written(run_one(app, lines=0)) == []


def test_lines_of_a_job_that_was_removed_meanwhile_do_not_fail_its_end(app: Flask) -> None:
    with transaction() as session:
        held = service.enqueue(session, "test_say", {}, by=SYSTEM, now=now()).id
        holds = claim(session, held, worker="w", lease_seconds=9, now=now())
    assert holds is not None
    said = job_log.JobLog(holds)
    with transaction() as session:
        session.execute(delete(JobAttempt))
        session.delete(service.find_job(session, held))
    said.add("too late", {})
    said.close()
    assert written(held) == []


@pytest.fixture
def flags() -> None:
    """A flag that is on for vera, and one of two variants."""
    drafts = [
        FlagDraft(name="for.vera", enabled=True, whitelist=("vera",)),
        FlagDraft(
            name="colours", enabled=True, percentage=100, variants=(Variant(name="blue", weight=1),)
        ),
    ]
    with transaction() as session:
        for draft in drafts:
            create_flag(session, draft, by=COMMAND, now=now(), reason="r")


@pytest.mark.usefixtures("flags")
def test_what_flags_answered_is_kept_with_the_attempt(app: Flask) -> None:
    ASKED.extend([("for.vera", "otto"), ("for.vera", "vera"), ("colours", "x"), ("colours", "y")])
    job_id = run_one(app, fail_until=2)
    seen = {"for.vera": ["off", "on"], "colours": "blue"}
    assert [attempt.flags_seen for attempt in attempts_of(job_id)] == [seen, seen]


def test_an_attempt_that_asked_no_flag_has_none(app: Flask) -> None:
    assert [attempt.flags_seen for attempt in attempts_of(run_one(app))] == [None]


def test_nobody_hears_what_others_ask(app: Flask) -> None:
    with noting_answers() as answers:
        evaluate("nobody.made.it")
    is_enabled("another")
    assert answers == {"nobody.made.it": "off"}


def test_so_many_flags_are_noted_and_no_more(app: Flask) -> None:
    with noting_answers() as answers:
        for number in range(MOST_NOTED + 10):
            is_enabled(f"unmade.{number}")
    assert len(answers) == MOST_NOTED
    assert MOST_DIFFERENT > 1

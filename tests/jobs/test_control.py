"""Pauses of queues and types, and policies that operators set."""

from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.audit.service import history
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs import control
from webapp.jobs.control import PolicyDraft
from webapp.jobs.registry import find_job_type
from webapp.jobs.steering import read_steering

MIRA = Actor("user", "mira")


def test_a_queue_is_paused_once_and_resumed_once(session: Session, now: datetime) -> None:
    control.pause_queue(session, "mail", by=MIRA, now=now, reason="The relay is down.")
    with pytest.raises(Conflict, match="paused already"):
        control.pause_queue(session, "mail", by=MIRA, now=now)
    assert control.find_paused_queues(session)["mail"].reason == "The relay is down."
    assert read_steering(session).holds_back("mail", "test_echo")
    control.resume_queue(session, "mail", by=MIRA, now=now)
    with pytest.raises(Conflict, match="not paused"):
        control.resume_queue(session, "mail", by=MIRA, now=now)
    assert not read_steering(session).holds_back("mail", "test_echo")
    actions = [entry.action for entry in history(session, "queue", "mail")]
    assert sorted(actions) == ["queue.paused", "queue.resumed"]


@pytest.mark.parametrize("name", ["", "Mail", "a b", "x" * 101, "-x"])
def test_what_can_be_no_queue_is_refused(session: Session, now: datetime, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        control.pause_queue(session, name, by=MIRA, now=now)
    assert "queue" in refusal.value.errors


def test_a_type_is_paused_and_resumed(session: Session, now: datetime) -> None:
    control.pause_type(session, "test_echo", by=MIRA, now=now, reason="Wait")
    steering = read_steering(session)
    assert steering.holds_back("default", "test_echo")
    assert not steering.holds_back("default", "test_fail")
    with pytest.raises(Conflict):
        control.pause_type(session, "test_echo", by=MIRA, now=now)
    control.resume_type(session, "test_echo", by=MIRA, now=now)
    with pytest.raises(Conflict):
        control.resume_type(session, "test_echo", by=MIRA, now=now)
    with pytest.raises(NotFound):
        control.pause_type(session, "none_such", by=MIRA, now=now)


def test_a_policy_replaces_what_it_names_and_nothing_else(session: Session, now: datetime) -> None:
    kind = find_job_type("test_echo")
    draft = PolicyDraft(max_retries=9, timeout=5.0)
    version = control.set_policy(
        session, "test_echo", draft, version=0, by=MIRA, now=now, reason="Slow"
    ).version
    steered = read_steering(session).applied_to(kind)
    assert (steered.policy.max_retries, steered.timeout) == (9, 5.0)
    assert steered.policy.initial_delay == kind.policy.initial_delay
    assert read_steering(session).applied_to(find_job_type("test_fail")).policy.max_retries != 9
    with pytest.raises(Conflict, match="meanwhile"):
        control.set_policy(session, "test_echo", draft, version=0, by=MIRA, now=now)
    again = control.set_policy(
        session, "test_echo", PolicyDraft(), version=version, by=MIRA, now=now
    )
    assert again.version == version + 1
    assert read_steering(session).applied_to(kind) == kind
    entries = history(session, "job_type", "test_echo")
    assert {entry.reason for entry in entries} == {"Slow", ""}


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (PolicyDraft(max_retries=-1), "max_retries"),
        (PolicyDraft(max_retries=101), "max_retries"),
        (PolicyDraft(backoff_factor=0.5), "backoff_factor"),
        (PolicyDraft(jitter=float("nan")), "jitter"),
        (PolicyDraft(timeout=0), "timeout"),
        (PolicyDraft(max_delay=float("inf")), "max_delay"),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_name(
    session: Session, now: datetime, draft: PolicyDraft, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        control.set_policy(session, "test_echo", draft, version=0, by=MIRA, now=now)
    assert list(refusal.value.errors) == [field]
    assert control.find_setting(session, "test_echo") is None

"""Which state may follow which."""

import pytest

from webapp.jobs.lifecycle import ACTIVE, ENDED, TRANSITIONS, WAITING, may, sources_of, target_of
from webapp.jobs.values import JobState as S


@pytest.mark.parametrize(
    ("event", "allowed"),
    [
        ("claim", {S.QUEUED, S.SCHEDULED, S.RETRYING}),
        ("succeed", {S.RUNNING}),
        ("retry", {S.RUNNING}),
        ("release", {S.RUNNING}),
        ("bury", {S.RUNNING}),
        ("stop", {S.RUNNING}),
        ("cancel", {S.SCHEDULED, S.QUEUED, S.RETRYING}),
        ("revive", {S.DEAD, S.CANCELED}),
        ("revive_later", {S.DEAD, S.CANCELED}),
        ("hasten", {S.SCHEDULED, S.RETRYING}),
    ],
)
def test_an_event_happens_only_in_its_states(event: str, allowed: set[S]) -> None:
    assert sources_of(event) == allowed
    assert {state for state in S if may(event, state)} == allowed


def test_no_event_leads_out_of_a_success() -> None:
    assert not [event for event in TRANSITIONS if may(event, S.SUCCEEDED)]


def test_every_unfinished_state_can_be_left() -> None:
    for state in ACTIVE:
        assert [event for event in TRANSITIONS if may(event, state) and target_of(event) != state]


def test_states_are_waiting_running_or_ended() -> None:
    assert WAITING | {S.RUNNING} | ENDED == set(S)
    assert not ACTIVE & ENDED

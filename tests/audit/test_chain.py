"""What the hashes of the audit are made of, and what a wrong one means."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from webapp.audit.chain import GENESIS, Facts, Fault, Link, canonical, fault_of, hash_after

FACTS = Facts(
    at=datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC),
    actor_kind="user",
    actor="änna",
    action="flag.updated",
    subject="flag",
    name="beta",
    reason="launch",
    changes={"percentage": [10, 25.5], "tags": [None, ["a"]]},
    request_id=None,
)
WRITTEN = (
    '{"action":"flag.updated","actor":"\\u00e4nna","actor_kind":"user",'
    '"at":"2026-11-22T12:00:00.000005+00:00",'
    '"changes":{"percentage":[10,25.5],"tags":[null,["a"]]},'
    '"name":"beta","reason":"launch","request_id":null,"subject":"flag"}'
)
HASH = "a25a5d29197231bf2d2863b0541867b5c791b86e96ed51c9bf3d50c64002069e"


def test_the_form_that_is_hashed_never_changes() -> None:
    assert canonical(FACTS) == WRITTEN
    assert hash_after(GENESIS, FACTS) == HASH


def test_a_moment_is_hashed_alike_in_every_zone() -> None:
    elsewhere = FACTS.at.astimezone(timezone(timedelta(hours=-5)))
    assert canonical(replace(FACTS, at=elsewhere)) == WRITTEN


@pytest.mark.parametrize(
    "other",
    [
        {"at": FACTS.at + timedelta(microseconds=1)},
        {"actor_kind": "token"},
        {"actor": "anna"},
        {"action": "flag.created"},
        {"subject": "job"},
        {"name": "beta2"},
        {"reason": ""},
        {"changes": {"percentage": [10, 25.6], "tags": [None, ["a"]]}},
        {"request_id": "null"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_every_fact_is_in_the_hash(other: dict[str, Any]) -> None:
    assert hash_after(GENESIS, replace(FACTS, **other)) != hash_after(GENESIS, FACTS)


def link(facts: Facts | None = FACTS, previous_hash: str = GENESIS, own: str = "") -> Link:
    own = own or hash_after(previous_hash, FACTS)
    return Link(id=1, facts=facts, previous_hash=previous_hash, hash=own)


@pytest.mark.parametrize(
    ("entry", "before", "fault"),
    [
        (link(), GENESIS, None),
        (link(previous_hash="a" * 64), "a" * 64, None),
        (link(replace(FACTS, reason="other")), GENESIS, Fault.CHANGED),
        (link(replace(FACTS, actor=b"\0")), GENESIS, Fault.CHANGED),  # type: ignore[arg-type]
        (link(None), GENESIS, Fault.CHANGED),
        (link(own="f" * 64), GENESIS, Fault.CHANGED),
        (link(previous_hash="a" * 64), GENESIS, Fault.REMOVED),
        (link(), "a" * 64, Fault.REMOVED),
    ],
)
def test_an_entry_is_judged_by_itself_and_by_the_one_before(
    entry: Link, before: str, fault: Fault | None
) -> None:
    assert fault_of(entry, before) == fault

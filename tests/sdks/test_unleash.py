"""Unleash's own SDKs against a running console: they decide as it does, and what they count joins
its figures.
"""

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import select
from UnleashClient.clients.unleash_client import UnleashClient

from tests.flags.conftest import make_token
from tests.sdks.conftest import Console, RunNode, answering
from tests.unleash.every_field import (
    BY_BUCKET,
    FEW,
    FLAGS,
    NOW,
    SUBJECTS,
    subject_of,
    there,
)
from webapp.actors import COMMAND
from webapp.db import reading, transaction
from webapp.flags.models import FeatureFlagEvaluation
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, create_segment
from webapp.flags.tables import FlagTables
from webapp.flags.values import FlagDraft, SegmentDraft
from webapp.roles import Role

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

FEATURES: Final = "/api/client/features"
METRICS: Final = "/api/client/metrics"


def storable() -> list[FlagDraft]:
    """The flags of every field, those first that others build on."""
    drafts = []
    for item in FLAGS.flags.values():
        given = {one.name: getattr(item, one.name) for one in fields(item)}
        rules = [rule for rule in item.rules if set(rule.segments) <= set(FLAGS.segments)]
        draft = FlagDraft(**(given | {"rules": tuple(rules)}))
        if all(needed.flag in FLAGS.flags for needed in item.prerequisites):
            drafts.append(draft)
    return sorted(drafts, key=lambda draft: bool(draft.prerequisites))


@pytest.fixture
def token(app: Flask, now: datetime) -> str:
    trace = Trace(COMMAND, now, "r")
    with app.app_context(), transaction() as session:
        for name, conditions in FLAGS.segments.items():
            create_segment(session, SegmentDraft(name=name, conditions=conditions), trace)
        for draft in storable():
            create_flag(session, draft, **trace._asdict())
        return make_token(session, Role.VIEWER, "staging")


@pytest.fixture
def console(app: Flask, token: str) -> Iterator[Console]:
    with answering(app) as found:
        yield found


def answers(number: int, names: list[str]) -> list[Any]:
    """What the flags answer here: on or off, the name of a variant, and its payload."""
    context, table = subject_of(number), TABLES.table(None)
    found: list[Any] = []
    for name in names:
        compiled = table.find(name)
        assert compiled is not None
        decision = compiled.ask(context)
        found.append([decision.enabled, decision.variant, payload_of(decision.value)])
    return found


TABLES: Final = FlagTables(FLAGS, "staging", None)


def is_hashed_alike(number: int) -> bool:
    """Beyond ASCII, the SDK for Node.js puts subjects elsewhere than Unleash's other SDKs do."""
    return str(subject_of(number).subject).isascii()


def payload_of(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value and {"type": "string", "value": value}
    return {"type": "json", "value": json.dumps(value, ensure_ascii=False)}


def counted(app: Flask) -> dict[tuple[str, str, bool], int]:
    with app.app_context(), reading() as session:
        rows = session.scalars(select(FeatureFlagEvaluation)).all()
    assert {(row.environment, row.reason) for row in rows} <= {("staging", "unleash_sdk")}
    return {(row.flag, row.variant, row.enabled): row.count for row in rows}


def test_the_python_sdk_decides_as_the_console_and_tells_what_it_counted(
    app: Flask, console: Console, token: str, tmp_path: Path
) -> None:
    client = UnleashClient(
        f"{console.url}/api",
        "tests",
        custom_headers={"Authorization": token},
        cache_directory=str(tmp_path),
        refresh_interval=3600,
        metrics_interval=3600,
    )
    client.initialize_client()
    names = [draft.name for draft in storable()]
    try:
        for number in range(100):
            asked = there(subject_of(number))
            for name, expected in zip(names, answers(number, names), strict=True):
                assert client.is_enabled(name, asked) is expected[0], (name, number)
                variant = client.get_variant(name, asked)
                given = (variant["name"], variant.get("payload")) if variant["enabled"] else None
                assert given == (tuple(expected[1:]) if expected[1] else None), (name, number)
        # What it has already it is not sent again.
        again = client._transport.fetch_features(client._store.cached_etag)
        assert again.not_modified
    finally:
        client.destroy()
    assert console.statuses(FEATURES) == [200, 304]
    assert console.statuses("/api/client/register") == [202]
    assert console.statuses(METRICS) == [202]
    found = counted(app)
    # Each was asked twice: whether it is on, and for its variant.
    assert sum(found.values()) == 2 * 100 * len(names)
    assert found["a.on", "", True] == 200
    assert {variant for flag, variant, _ in found if flag == "l.variants"} == {"", "plain"}


def test_the_sdk_for_javascript_decides_as_the_console_for_ten_thousand_subjects(
    app: Flask, console: Console, token: str, run_node: RunNode
) -> None:
    names = [draft.name for draft in storable()]
    numbers = [number for number in range(SUBJECTS) if is_hashed_alike(number)]
    # What is settled for all, or for all alike, is soon compared.
    asked_of = {number: names if number < FEW else list(BY_BUCKET) for number in numbers}
    subjects = [there(subject_of(number)) | {"names": asked_of[number]} for number in numbers]
    given = {"url": console.url, "token": token, "now": NOW.isoformat()}
    told = run_node("unleash.cjs", subjects=subjects, **given)
    assert len(told) == len(numbers) >= SUBJECTS - 1
    for number, found in zip(numbers, told, strict=True):
        expected = answers(number, asked_of[number])
        assert found == expected, [
            (name, one, other)
            for name, one, other in zip(asked_of[number], found, expected, strict=True)
            if one != other
        ]
    assert console.statuses(FEATURES) == [200]
    assert console.statuses(METRICS) == [202]
    assert sum(counted(app).values()) == sum(map(len, asked_of.values()))

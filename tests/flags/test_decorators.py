"""Flags in Python: the decorator on def and async def, fallbacks, subjects, unknown flags."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags import evaluate, feature_flag, is_enabled
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft, Reason


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> Iterator[None]:
    """One flag that is on for vera only, and one that is on in staging only."""
    drafts = (
        FlagDraft(name="for.vera", enabled=True, whitelist=("vera", "7")),
        FlagDraft(name="in.staging", enabled=True, percentage=100, environments=("staging",)),
    )
    with app.app_context():
        with transaction() as session:
            for draft in drafts:
                create_flag(session, draft, by=COMMAND, now=now, reason="r")
        yield


def old(*args: Any, **kwargs: Any) -> str:
    return f"old {args} {kwargs}"


async def old_async(user_id: str) -> str:
    return f"old {user_id}"


@feature_flag("for.vera", fallback=old, subject="user_id")
def page(size: int, user_id: str = "vera") -> str:
    """Say who sees it."""
    return f"new {user_id} {size}"


@feature_flag("for.vera", subject="user_id")
def strict(*sizes: int, user_id: str) -> str:
    return f"new {sizes}"


@feature_flag("for.vera", fallback=old_async, subject="user_id")
async def fetch(user_id: str) -> str:
    return f"new {user_id}"


@feature_flag("for.vera", fallback=old, subject="user_id")
async def fetch_or_plain(user_id: str) -> str:
    return f"new {user_id}"


def test_the_subject_is_found_by_place_by_name_and_by_default() -> None:
    assert page(1, "vera") == page(1, user_id="vera") == page(1) == "new vera 1"
    assert page(1, "otto") == "old (1, 'otto') {}"
    assert page(1, user_id="otto") == "old (1,) {'user_id': 'otto'}"
    assert strict(1, 2, user_id="vera") == "new (1, 2)"


def test_off_without_a_fallback_is_none() -> None:
    assert strict(7, user_id="otto") is None


def test_async_functions_stay_async() -> None:
    assert asyncio.run(fetch("vera")) == "new vera"
    assert asyncio.run(fetch("otto")) == "old otto"
    assert asyncio.run(fetch_or_plain("otto")) == "old ('otto',) {}"


def test_a_decorated_function_keeps_its_name() -> None:
    assert (page.__name__, page.__doc__) == ("page", "Say who sees it.")


def test_a_subject_that_is_no_parameter_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="tenant"):
        feature_flag("for.vera", subject="tenant")(old_async)


def test_the_environment_is_the_deployments_where_none_is_named() -> None:
    assert evaluate("in.staging", "u").reason is Reason.ENVIRONMENT
    assert evaluate("in.staging", "u", environment="staging").reason is Reason.EVERYONE


def test_ids_of_any_type_are_subjects() -> None:
    assert is_enabled("for.vera", 7)
    assert not is_enabled("for.vera", 8)


def test_an_unknown_flag_is_off_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    name = f"unknown.{uuid.uuid4().hex}"
    answers = {evaluate(name, "u") for _ in range(3)}
    assert {(answer.enabled, answer.reason) for answer in answers} == {(False, Reason.NOT_FOUND)}
    assert caplog.text.count(name) == 1

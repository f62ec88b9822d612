"""Usage where people and programs look for it: the list, a flag's page, the API."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from webapp import clock
from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags.batches import Span, UsageBatch, UsageKey
from webapp.flags.figures import subjects_seen
from webapp.flags.recording import add_usage
from webapp.flags.service import create_flag
from webapp.flags.snapshot import flag_store
from webapp.flags.values import FlagDraft

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient

METRICS = "/api/v1/feature-flags/metrics"


@pytest.fixture(autouse=True)
def flags(app: Flask) -> datetime:
    """One flag that is asked, one that was settled long ago, and a misspelling."""
    now = clock.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    long_ago = now - timedelta(days=40)
    with app.app_context(), transaction() as session:
        for name, percentage, made in (("ui.beta", 25, now), ("old.on", 100, long_ago)):
            draft = FlagDraft(name=name, enabled=True, percentage=percentage)
            create_flag(session, draft, by=COMMAND, now=made, reason="r")
        counts = {
            UsageKey("ui.beta", hour, "production", "", True, "percentage"): 1_203,
            UsageKey("ui.beta", hour, "production", "", False, "percentage"): 3_611,
            UsageKey("ui.beta", hour - timedelta(hours=30), "staging", "b", True, "whitelist"): 5,
        }
        add_usage(
            session,
            UsageBatch(
                counts=counts,
                uses={"ui.beta": Span(long_ago, now), "old.on": Span(long_ago, now)},
                unknown={"ui.betta": (7, Span(now, now)), "<b>": (1, Span(now, now))},
            ),
        )
    return hour


def test_the_list_shows_usage_and_stale_flags(viewer: "ConsoleClient") -> None:
    text = viewer.get("/flags").text
    assert "Evaluations of ui.beta by hour: 4,814 in 24 h" in text
    assert "Answers everybody alike, unchanged for 30 days." in text
    stale, fresh = viewer.get("/flags?stale=true").text, viewer.get("/flags?stale=false").text
    assert ("flag-old-on-row" in stale, "flag-ui-beta-row" in stale) == (True, False)
    assert ("flag-old-on-row" in fresh, "flag-ui-beta-row" in fresh) == (False, True)


def test_the_slider_knows_how_many_subjects_were_seen_lately(
    app: Flask, operator: "ConsoleClient", flags: datetime
) -> None:
    assert "data-population" not in operator.get("/flags/ui.beta").text
    old = flags - timedelta(hours=24)
    seen = {
        ("ui.beta", flags): [1, 2, 3],
        ("ui.beta", flags - timedelta(hours=23)): [3, 4],
        ("ui.beta", old): [5],
        ("old.on", flags): [6],
    }
    with app.app_context(), transaction() as session:
        add_usage(session, UsageBatch(subjects=seen))
        at = flags + timedelta(minutes=59)
        assert subjects_seen(session, "ui.beta", now=at) == 4
        assert subjects_seen(session, "nobody.asked", now=at) is None
    text = operator.get("/flags/ui.beta").text
    assert 'data-saved="25.0" data-population="4"' in text
    # For those without scripts.
    assert "about 1 of 4 subjects seen in 24 h" in text


def test_names_that_nobody_made_are_listed_for_an_admin_to_make(admin: "ConsoleClient") -> None:
    part = admin.get("/flags").text.partition('<section id="flags-unknown"')[2]
    assert "&lt;b&gt;" in part
    assert "/flags/new?name=ui.betta" in part
    assert 'value="ui.betta"' in admin.get("/flags/new?name=ui.betta").text


def test_a_viewer_is_not_asked_to_make_them(viewer: "ConsoleClient") -> None:
    text = viewer.get("/flags").text
    assert "ui.betta" in text
    assert "/flags/new" not in text


def test_a_flags_page_shows_what_it_answered(viewer: "ConsoleClient") -> None:
    part = viewer.htmx("/flags/ui.beta", "flags-usage").text
    assert part.lstrip().startswith('<section id="flags-usage"')
    assert "on 1,203 times, off 3,611 times" in part
    assert "Last evaluated" in part
    assert "switched off" not in part
    assert "Answers everybody alike" in viewer.get("/flags/old.on").text


def test_a_page_says_where_nobody_counts(
    app: Flask, viewer: "ConsoleClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        monkeypatch.setattr(flag_store(), "usage", None)
    assert "Counting is switched off" in viewer.get("/flags/ui.beta").text


def test_the_api_tells_each_hour(viewer: "ConsoleClient", flags: datetime) -> None:
    body = viewer.get(f"{METRICS}/ui.beta").get_json()
    assert (body["flag_name"], body["hours"], body["on"], body["off"]) == (
        "ui.beta",
        24,
        1_203,
        3_611,
    )
    assert body["counts"][1] == {
        "hour": f"{flags:%Y-%m-%dT%H:%M:%SZ}",
        "environment": "production",
        "enabled": True,
        "reason": "percentage",
        "variant": None,
        "count": 1_203,
    }
    longer = viewer.get(f"{METRICS}/ui.beta?hours=48").get_json()
    assert (len(longer["counts"]), longer["counts"][0]["variant"]) == (3, "b")
    assert viewer.get(f"{METRICS}/old.on").get_json()["counts"] == []


@pytest.mark.parametrize("hours", ["0", "745", "-1", "x", "9" * 5_000])
def test_the_api_refuses_odd_hours(viewer: "ConsoleClient", hours: str) -> None:
    assert viewer.get(f"{METRICS}/ui.beta?hours={hours}").status_code == 422


def test_the_api_knows_no_usage_of_what_is_not_there(viewer: "ConsoleClient") -> None:
    assert viewer.get(f"{METRICS}/ui.betta").status_code == 404


def test_the_api_lists_stale_flags(viewer: "ConsoleClient") -> None:
    url = "/api/v1/feature-flags?stale="
    assert [flag["name"] for flag in viewer.get(url + "true").get_json()["items"]] == ["old.on"]
    assert [flag["name"] for flag in viewer.get(url + "false").get_json()["items"]] == ["ui.beta"]
    assert viewer.get(url + "odd").status_code == 422

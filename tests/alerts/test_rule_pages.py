"""The pages of rules: the list, one rule, its form with the preview, by role."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.alerts.test_pages import judge, make_rule, no_rules, only
from tests.conftest import SECRET, ConsoleClient
from webapp.actors import COMMAND
from webapp.alerts.models import AlertRule
from webapp.alerts.values import Direction, Metric
from webapp.channels.service import create_channel, remove_channel
from webapp.channels.values import ChannelDraft
from webapp.clock import now as clock_now
from webapp.db import db, transaction

__all__ = ["no_rules"]

FORM = {
    "name": "etl-failing",
    "metric": "job_failure_rate",
    "scope": "etl",
    "comparison": "above",
    "threshold": "12.5",
    "window_seconds": "30",
    "min_sample": "3",
    "severity": "error",
    "for_seconds": "1.5",
    "cooldown_seconds": "60",
    "channels": ["ops"],
    "enabled": "1",
    "reason": "Nobody noticed last time",
}


@pytest.fixture
def ops(app: Flask) -> None:
    """A channel."""
    draft = ChannelDraft(name="ops", url="json://hooks.example.com/a")
    with app.app_context(), transaction() as session:
        create_channel(
            session, draft, secret_key=SECRET, by=COMMAND, now=clock_now(), reason="Needed"
        )


def test_an_admin_makes_a_rule_and_its_form_shows_it_as_it_was_typed(
    ops: None, app: Flask, admin: ConsoleClient
) -> None:
    answer = admin.post("/alerts/rules", data=FORM, follow_redirects=True)
    assert "etl-failing is made." in answer.text
    rule = only(app, AlertRule)
    assert (rule.metric, rule.scope, rule.threshold) == ("job_failure_rate", "etl", 12.5)
    assert (rule.window_seconds, rule.for_seconds, rule.cooldown_seconds) == (1800, 90, 3600)
    assert (rule.min_sample, rule.channels, rule.enabled) == (3, ["ops"], True)
    page = admin.get("/alerts/rules/etl-failing/edit").text
    for value in ("12.5", "30", "1.5", "60"):
        assert f'value="{value}"' in page
    assert 'value="ops"' in page
    same = {**FORM, "version": "1"}
    assert admin.post("/alerts/rules/etl-failing", data=same).status_code == 303
    assert only(app, AlertRule).version == 1


def test_the_list_and_the_page_say_the_rule_in_words(ops: None, admin: ConsoleClient) -> None:
    admin.post("/alerts/rules", data=FORM)
    for url in ("/alerts/rules", "/alerts/rules/etl-failing"):
        page = " ".join(admin.get(url).text.split())
        assert "Failure rate of a job type etl above 12.5 %" in page
        assert "within 30 min, of at least 3, for 1 min 30 s" in page
        assert "Quiet" in page
        assert "ops" in page
    assert "No rule matches" in admin.get("/alerts/rules?q=nothing").text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "Not A Name"}, "small letters"),
        ({"name": "new"}, "small letters"),
        ({"metric": "weather"}, "One of job_failure_rate"),
        ({"scope": "etl", "metric": "workers_alive"}, "without a scope"),
        ({"comparison": "near"}, "One of above, below."),
        ({"threshold": ""}, "A number from 0 to"),
        ({"threshold": "nan"}, "A number from 0 to"),
        ({"threshold": "-1"}, "A number from 0 to"),
        ({"window_seconds": "0.5"}, "A number of minutes from 1 to 10,080."),
        ({"for_seconds": "1e99"}, "A number of minutes from 0 to 1,440."),
        ({"cooldown_seconds": "often"}, "A number of minutes from 1 to 10,080."),
        ({"min_sample": "0"}, "A whole number from 1 to"),
        ({"severity": "dire"}, "One of info"),
        ({"channels": ["gone"]}, "There is no channel"),
        ({"reason": " "}, "Say why"),
    ],
)
def test_a_refused_rule_keeps_what_was_typed_and_names_the_field(
    ops: None, admin: ConsoleClient, fields: dict[str, Any], words: str
) -> None:
    form = FORM | fields
    plain = admin.post("/alerts/rules", data=form)
    part = admin.htmx("/alerts/rules", "alerts-rule-form", method="POST", data=form)
    assert (plain.status_code, part.status_code) == (422, 422)
    assert part.text.lstrip().startswith('<section id="alerts-rule-form"')
    field = next(iter(fields))
    for page in (plain.text, part.text):
        assert words in page
        assert f'id="field-{field}-errors"' in page
        assert 'value="etl"' in page


def test_a_name_that_is_taken_is_refused_at_its_field(ops: None, admin: ConsoleClient) -> None:
    assert admin.post("/alerts/rules", data=FORM).status_code == 303
    again = admin.post("/alerts/rules", data=FORM)
    assert again.status_code == 409
    assert "There is a rule &#39;etl-failing&#39; already." in again.text


def test_who_was_overtaken_sees_what_changed_and_may_save_over_it(
    ops: None, app: Flask, admin: ConsoleClient
) -> None:
    admin.post("/alerts/rules", data=FORM)
    admin.post("/alerts/rules/etl-failing", data={**FORM, "threshold": "30", "version": "1"})
    late = admin.post("/alerts/rules/etl-failing", data={**FORM, "threshold": "40", "version": "1"})
    assert late.status_code == 409
    for words in ("Changed meanwhile.", "Save over it", 'name="version" value="2"', 'value="40"'):
        assert words in late.text
    assert only(app, AlertRule).threshold == 30
    over = admin.post("/alerts/rules/etl-failing", data={**FORM, "threshold": "40", "version": "2"})
    assert over.status_code == 303
    assert only(app, AlertRule).threshold == 40


def test_a_preview_tells_what_is_so_now_before_anything_is_saved(
    app: Flask, admin: ConsoleClient
) -> None:
    form = {"metric": "workers_alive", "comparison": "below", "threshold": "1", "hours": "168"}
    part = admin.htmx("/alerts/rules/preview", "alerts-preview", method="POST", data=form)
    assert part.text.lstrip().startswith('<div id="alerts-preview"')
    for words in ("It would fire now.", "none alive", "No past figures are kept"):
        assert words in part.text
    quiet = admin.htmx(
        "/alerts/rules/preview", "alerts-preview", method="POST", data=form | {"threshold": "0"}
    )
    assert "It would be quiet now." in quiet.text
    plain = admin.post("/alerts/rules/preview", data=form).text
    assert "It would fire now." in plain
    assert '<option value="168" selected>' in plain
    unread = admin.htmx(
        "/alerts/rules/preview", "alerts-preview", method="POST", data=form | {"threshold": "x"}
    )
    assert "Not yet." in unread.text
    with app.app_context():
        assert db.session.scalars(select(AlertRule)).all() == []


def test_a_preview_tells_when_a_breaker_would_have_fired(app: Flask, admin: ConsoleClient) -> None:
    form = {"metric": "breaker_open", "threshold": "0"}
    part = admin.htmx("/alerts/rules/preview", "alerts-preview", method="POST", data=form)
    assert "Never in this time." in part.text


def test_a_rule_is_switched_off_and_on_though_its_channel_is_gone(
    ops: None, app: Flask, admin: ConsoleClient
) -> None:
    admin.post("/alerts/rules", data=FORM)
    with app.app_context(), transaction() as session:
        remove_channel(session, "ops", by=COMMAND, now=clock_now(), reason="Gone")
    assert "(removed)" in admin.get("/alerts/rules").text
    assert "It tells fewer than it says." in admin.get("/alerts/rules/etl-failing").text
    assert "ops, removed" in admin.get("/alerts/rules/etl-failing/edit").text
    asked = admin.post("/alerts/rules/etl-failing/disable")
    assert (asked.status_code, "Switch etl-failing off?" in asked.text) == (422, True)
    off = admin.htmx("/alerts/rules/etl-failing/disable", method="POST", data={"reason": "Calm"})
    assert off.status_code == 204
    assert not only(app, AlertRule).enabled
    twice = admin.post("/alerts/rules/etl-failing/disable", data={"reason": "Calm"})
    assert (twice.status_code, "switched off already" in twice.text) == (409, True)
    on = admin.post("/alerts/rules/etl-failing/enable", data={"reason": "Again"})
    assert on.status_code == 303
    assert (only(app, AlertRule).enabled, only(app, AlertRule).version) == (True, 3)


def test_removing_a_rule_asks_once_in_words_that_name_it(app: Flask, admin: ConsoleClient) -> None:
    make_rule(app)
    asked = admin.post("/alerts/rules/no-worker/remove")
    assert (asked.status_code, "Remove no-worker?" in asked.text) == (422, True)
    done = admin.post(
        "/alerts/rules/no-worker/remove", data={"reason": "Not needed"}, follow_redirects=True
    )
    assert "no-worker is removed." in done.text
    assert admin.get("/alerts/rules/no-worker").status_code == 404


def test_a_rule_tells_what_it_fired_on(app: Flask, viewer: ConsoleClient) -> None:
    make_rule(app)
    assert "not lately" in viewer.get("/alerts/rules").text
    assert "It has not fired lately" in viewer.get("/alerts/rules/no-worker").text
    judge(app, minutes_ago=5)
    for url in ("/alerts/rules", "/alerts/rules/no-worker"):
        page = viewer.get(url).text
        assert "1 firing" in page
        assert "5 min ago" in page


def test_a_metric_that_is_gone_from_the_words_of_a_link_shows_the_form(
    admin: ConsoleClient,
) -> None:
    assert admin.get("/alerts/rules/new?metric=weather&threshold=1").status_code == 200
    page = admin.get("/alerts/rules/new?metric=breaker_open&scope=source:a").text
    assert 'value="source:a"' in page


def test_every_metric_can_be_shown_tried_and_explained(app: Flask, admin: ConsoleClient) -> None:
    for metric in Metric:
        make_rule(app, name=metric.value, metric=metric, comparison=Direction.ABOVE, threshold=0)
        assert admin.get(f"/alerts/rules/{metric}").status_code == 200
        assert admin.get(f"/alerts/rules/{metric}/edit").status_code == 200
    with app.app_context(), transaction() as session:
        session.execute(update(AlertRule).values(channels=["a", "b"]))
    assert admin.get("/alerts/rules").status_code == 200


@pytest.mark.usefixtures("no_workers")
def test_where_there_are_to_be_no_workers_a_rule_about_them_says_that_it_does_not_apply(
    app: Flask, admin: ConsoleClient
) -> None:
    make_rule(app)
    assert "Does not apply" in admin.get("/alerts/rules").text
    page = admin.get("/alerts/rules/no-worker").text
    assert ("It does not apply here." in page, "Does not apply" in page) == (True, True)
    form = admin.get("/alerts/rules/no-worker/edit").text
    assert ("It would be quiet now." in form, "It does not apply here" in form) == (True, True)
    asked = {"metric": "workers_alive", "comparison": "below", "threshold": 1, "severity": "info"}
    told = admin.post("/api/v1/alert-rules/preview", json=asked).get_json()
    assert [item["holds"] for item in told["now"]] == [False]

"""The pages of alerts: what fires, what people do about it, by role, with and without htmx."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tests.conftest import ConsoleClient
from webapp.actors import COMMAND, Actor
from webapp.alerts import service
from webapp.alerts.evaluating import evaluate
from webapp.alerts.measuring import measure
from webapp.alerts.models import Alert, AlertRule, AlertSilence
from webapp.alerts.values import AlertState, Direction, Metric, RuleDraft, Severity, SilenceDraft
from webapp.audit.models import AuditEntry
from webapp.clock import now as clock_now
from webapp.db import db, transaction

NO_WORKER = RuleDraft(
    name="no-worker",
    metric=Metric.WORKERS_ALIVE,
    comparison=Direction.BELOW,
    threshold=1,
    severity=Severity.CRITICAL,
)
ANNA = Actor("user", "anna")

Act = Callable[[Session, datetime], Any]
LIST = '<section id="alerts-table"'


@pytest.fixture(autouse=True)
def no_rules(app: Flask) -> None:
    """No rules but those of a test."""
    with app.app_context(), transaction() as session:
        session.execute(delete(AlertRule))


def write(app: Flask, act: Act, at: datetime | None = None) -> Any:
    with app.app_context(), transaction() as session:
        return act(session, at or clock_now())


def make_rule(app: Flask, **fields: Any) -> None:
    draft = replace(NO_WORKER, **fields)
    write(
        app, lambda session, at: service.create_rule(session, draft, by=COMMAND, now=at, reason="x")
    )


def judge(app: Flask, minutes_ago: int = 0) -> None:
    at = clock_now() - timedelta(minutes=minutes_ago)
    write(app, lambda session, at: evaluate(session, measure(session, now=at), now=at), at)


@pytest.fixture
def firing(app: Flask) -> int:
    """An alert that has fired for five minutes, since no worker is alive; returns its id."""
    make_rule(app)
    judge(app, minutes_ago=5)
    alert: Alert = only(app, Alert)
    return alert.id


def only(app: Flask, model: type[Any]) -> Any:
    with app.app_context():
        return db.session.scalars(select(model)).one()


def test_an_empty_list_says_that_nothing_fired(viewer: ConsoleClient) -> None:
    page = viewer.get("/alerts").text
    assert "Nothing has fired" in page
    assert "No rule has been judged yet" in page
    assert "Nothing is silenced" in viewer.get("/alerts/silences").text
    assert "An admin can make the first one." in viewer.get("/alerts/rules").text


def test_the_list_tells_what_fires_in_words_with_what_was_measured(
    firing: int, viewer: ConsoleClient
) -> None:
    page = viewer.get("/alerts").text
    for words in ("Workers alive", "Firing", "Critical", "none alive", "fires below 1", "nobody"):
        assert words in page
    assert f'href="/alerts/{firing}"' in page
    assert "5 min ago" in page


def test_what_fires_stands_first_and_the_worst_before_the_others(
    firing: int, app: Flask, viewer: ConsoleClient
) -> None:
    """Whatever the ids: the newest is over, and the oldest the worst."""

    def add(session: Session, at: datetime) -> None:
        for number, (state, severity) in enumerate(
            [("firing", "warning"), ("acknowledged", "error"), ("resolved", "critical")]
        ):
            values = {"label": f"host{number}", "rule": f"rule{number}", "severity": severity}
            session.add(alert_row(at, state=state, **values))

    write(app, add)
    page = viewer.get("/alerts").text
    places = [page.index(f"by {rule}<") for rule in ("no-worker", "rule1", "rule0", "rule2")]
    assert places == sorted(places)
    assert "4 of 4 alerts" in page
    only_firing = viewer.get("/alerts?state=firing").text
    assert "rule0" in only_firing
    assert "rule1" not in only_firing


def alert_row(at: datetime, **fields: Any) -> Alert:
    usual = {
        "key": f"flags_stale:{fields['label']}",
        "metric": Metric.FLAGS_STALE,
        "value": 3.0,
        "comparison": "above",
        "threshold": 0.0,
        "holding": {},
        "began_at": at,
        "told": False,
        "told_channels": [],
    }
    return Alert(**(usual | fields))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=worker", True),
        ("q=NO-WORK", True),
        ("q=alive", True),
        ("severity=critical&state=active", True),
        ("state=open", True),
        ("key=workers_alive", True),
        ("q=%25", False),
        ("severity=info", False),
        ("state=resolved", False),
        ("key=workers", False),
        ("state=invented", True),
    ],
)
def test_filters_narrow_the_list_and_stand_in_the_url(
    firing: int, viewer: ConsoleClient, query: str, found: bool
) -> None:
    page = viewer.get(f"/alerts?{query}").text
    assert (f'href="/alerts/{firing}"' in page) == found
    assert ("No alert matches" in page) != found
    part = viewer.htmx(f"/alerts?{query}", "alerts-table").text
    assert part.lstrip().startswith(LIST)


def test_the_pages_behind_the_first_hold_the_rest_and_nothing_twice(
    firing: int, app: Flask, viewer: ConsoleClient
) -> None:
    def add(session: Session, at: datetime) -> None:
        for number in range(60):
            values = {"label": f"h{number}", "rule": f"over{number:02}", "severity": "info"}
            session.add(alert_row(at, state="resolved", **values))

    write(app, add)
    first = viewer.get("/alerts").text
    assert "51 of 61 alerts" in first
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = viewer.get(older).text
    assert "by no-worker<" not in second
    shown = [f"by over{number:02}<" for number in range(60)]
    assert all((name in first) != (name in second) for name in shown)


def test_one_alert_tells_its_figures_its_history_and_what_to_do(
    firing: int, viewer: ConsoleClient
) -> None:
    page = viewer.get(f"/alerts/{firing}").text
    for words in ("It fires.", "It fired: critical", "none alive; no-worker fires below 1"):
        assert words in page
    assert "Start a worker" in page
    assert 'href="/workers"' in page
    assert 'href="/alerts/rules/no-worker"' in page
    part = viewer.htmx(f"/alerts/{firing}", "alerts-activity")
    assert part.text.lstrip().startswith('<section id="alerts-activity"')
    again = viewer.htmx(
        f"/alerts/{firing}", "alerts-activity", headers={"If-None-Match": part.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


def test_one_that_is_not_there_is_not_found(viewer: ConsoleClient) -> None:
    for url in ("/alerts/99", "/alerts/rules/none", "/alerts/999999999999999999999"):
        assert viewer.get(url).status_code == 404


def test_a_viewer_looks_and_is_offered_nothing_else(firing: int, viewer: ConsoleClient) -> None:
    urls = ("/alerts", f"/alerts/{firing}", "/alerts/rules", "/alerts/rules/no-worker")
    for url in (*urls, "/alerts/silences"):
        page = viewer.get(url).text
        for words in ("Acknowledge<", "Silence<", "Switch off", "/edit", "/new", "Remove"):
            assert words not in page, (url, words)
    posts = (f"/alerts/{firing}/acknowledge", f"/alerts/{firing}/silence", "/alerts/silences")
    for url in (*posts, "/alerts/rules", "/alerts/rules/no-worker/disable"):
        assert viewer.post(url).status_code == 403


def test_an_operator_acknowledges_with_a_note_and_changes_no_rule(
    firing: int, app: Flask, operator: ConsoleClient
) -> None:
    answer = operator.post(
        f"/alerts/{firing}/acknowledge", data={"reason": "I am on it"}, follow_redirects=True
    )
    assert f"Alert {firing} is acknowledged." in answer.text
    assert "operator looks after it." in answer.text
    assert "operator acknowledged it" in answer.text
    assert "I am on it" in answer.text
    assert only(app, Alert).state == AlertState.ACKNOWLEDGED
    assert "Acknowledge<" not in operator.get("/alerts").text
    assert operator.get("/alerts/rules/no-worker/edit").status_code == 403
    assert "Switch off" not in operator.get("/alerts/rules/no-worker").text


def test_two_who_acknowledge_at_once_are_told_who_was_first(
    firing: int, operator: ConsoleClient
) -> None:
    url = f"/alerts/{firing}/acknowledge"
    assert operator.htmx(url, method="POST").status_code == 204
    late = operator.htmx(url, method="POST")
    assert "is acknowledged by operator, not firing" in late.headers["HX-Trigger"]
    page = operator.post(url)
    assert (page.status_code, "is acknowledged by operator" in page.text) == (409, True)


@pytest.mark.parametrize(("lasts", "hours"), [("60", 1), ("480", 8), ("1440", 24)])
def test_an_operator_silences_an_alert_for_a_while(
    firing: int, app: Flask, operator: ConsoleClient, lasts: str, hours: int
) -> None:
    form = {"covers": "this", "lasts": lasts, "reason": "They move servers"}
    before = clock_now()
    answer = operator.post(f"/alerts/{firing}/silence", data=form, follow_redirects=True)
    assert "Silenced until" in answer.text
    assert "They move servers" in answer.text
    silence = only(app, AlertSilence)
    assert (silence.rule, silence.label) == ("no-worker", "")
    assert abs(silence.ends_at - before - timedelta(hours=hours)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("covers", "rule", "label"),
    [("this", "stale", "web1"), ("label", "", "web1"), ("rule", "stale", "")],
)
def test_a_silence_reaches_as_far_as_was_chosen(
    app: Flask, operator: ConsoleClient, covers: str, rule: str, label: str
) -> None:
    make_rule(app, name="stale", metric=Metric.FLAGS_STALE, comparison=Direction.ABOVE)
    row = {"label": "web1", "rule": "stale", "severity": "error", "state": "firing"}
    write(app, lambda session, at: session.add(alert_row(at, **row)))
    until = (clock_now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    form = {"covers": covers, "lasts": "until", "until": until, "reason": "Known"}
    url = f"/alerts/{only(app, Alert).id}/silence"
    answer = operator.htmx(url, "alerts-silence", method="POST", data=form)
    assert answer.status_code == 204
    silence = only(app, AlertSilence)
    assert (silence.rule, silence.label) == (rule, label)
    assert f"{silence.ends_at:%Y-%m-%dT%H:%M}" == until


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reason": " "}, "Say why"),
        ({"lasts": "until", "until": "soon"}, "A date and a time"),
        ({"lasts": "until", "until": "2001-01-01T00:00"}, "A time within the next 90 days."),
        ({"lasts": "until", "until": "0001-01-01T00:00+14:00"}, "A date and a time"),
        ({"lasts": "7"}, "One of those in the list."),
    ],
)
def test_a_refused_silence_keeps_what_was_typed(
    firing: int, app: Flask, operator: ConsoleClient, fields: dict[str, str], words: str
) -> None:
    form = {"covers": "rule", "lasts": "480", "reason": "Kept words"} | fields
    plain = operator.post(f"/alerts/{firing}/silence", data=form)
    part = operator.htmx(f"/alerts/{firing}/silence", "alerts-silence", method="POST", data=form)
    assert (plain.status_code, part.status_code) == (422, 422)
    assert part.text.lstrip().startswith('<section id="alerts-silence"')
    for page in (plain.text, part.text):
        assert words in page
        assert f'value="{form["reason"]}"' in page
    # Live parts and pages of the history are those of the alert, not of the form.
    assert f'hx-get="/alerts/{firing}"' in plain.text


def test_a_silence_is_made_listed_and_ended_early(
    firing: int, app: Flask, operator: ConsoleClient
) -> None:
    assert 'value="no-worker" selected' in operator.get("/alerts/silences/new?rule=no-worker").text
    refused = operator.post("/alerts/silences", data={"rule": "gone", "reason": "x"})
    assert refused.status_code == 422
    assert "There is no rule" in refused.text
    assert "Name a rule, a label" in operator.post("/alerts/silences", data={"reason": "x"}).text
    form = {"label": "web1", "lasts": "60", "reason": "Maintenance"}
    assert (
        "The silence begins."
        in operator.post("/alerts/silences", data=form, follow_redirects=True).text
    )
    page = operator.get("/alerts/silences").text
    for words in ("about web1", "every rule", "Silent", "Maintenance", "by operator"):
        assert words in page
    url = f"/alerts/silences/{only(app, AlertSilence).id}/end"
    asked = operator.post(url)
    assert (asked.status_code, "End the silence of web1?" in asked.text) == (422, True)
    assert operator.post(url, data={"reason": "Done"}).status_code == 303
    assert operator.post(url, data={"reason": "Done"}).status_code == 409
    assert "Nothing is silenced" in operator.get("/alerts/silences").text
    assert "Ended" in operator.get("/alerts/silences?state=all").text


def test_what_keeps_people_from_being_told_is_said(
    firing: int, app: Flask, viewer: ConsoleClient
) -> None:
    draft = SilenceDraft(
        rule="no-worker", ends_at=clock_now() + timedelta(hours=1), reason="We know of it"
    )
    write(app, lambda session, at: service.create_silence(session, draft, by=ANNA, now=at))
    judge(app)
    assert "silenced" in viewer.get("/alerts").text
    page = viewer.get(f"/alerts/{firing}").text
    assert "Nobody is told." in page
    assert "We know of it" in page


def test_its_end_is_told_with_how_long_it_lasted(
    firing: int, app: Flask, admin: ConsoleClient
) -> None:
    assert '<span class="count count--danger">1</span>' in admin.get("/alerts").text
    assert admin.post("/alerts/rules/no-worker/disable", data={"reason": "Rest"}).status_code == 303
    judge(app)
    page = admin.get(f"/alerts/{firing}").text
    for words in ("It was over", "Resolved", "after 5 min"):
        assert words in page
    assert 'id="alerts-silence"' not in page
    assert "Resolved" in admin.get("/alerts").text
    assert "Off" in admin.htmx("/alerts/rules", "alerts-rules").text


def test_the_overview_names_what_fires_and_nothing_where_nothing_does(
    app: Flask, viewer: ConsoleClient
) -> None:
    assert "Firing alerts" not in viewer.get("/").text
    make_rule(app, name="busy", comparison=Direction.BELOW, severity=Severity.INFO)
    judge(app, minutes_ago=5)
    page = viewer.get("/").text
    assert "Firing alerts" in page
    # What only informs is no reason to call the whole unwell.
    assert "Firing (" not in page
    write(app, lambda session, at: session.execute(update(Alert).values(severity="error")))
    page = viewer.get("/").text
    assert "Firing (error): Workers alive (none alive)." in page
    assert f'href="/alerts/{only(app, Alert).id}"' in page


def test_the_menu_counts_what_nobody_looks_after(firing: int, operator: ConsoleClient) -> None:
    counted = 'Alerts</span><span class="count count--danger">1</span>'
    assert counted in operator.get("/account").text
    operator.post(f"/alerts/{firing}/acknowledge")
    assert 'Alerts</span><span class="count' not in operator.get("/account").text


def test_what_was_done_is_in_the_audit(firing: int, app: Flask, operator: ConsoleClient) -> None:
    operator.post(f"/alerts/{firing}/acknowledge", data={"reason": "Mine"})
    with app.app_context():
        entries = db.session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entries is not None
    assert (entries.action, entries.actor, entries.reason) == (
        "alert.acknowledged",
        "operator",
        "Mine",
    )

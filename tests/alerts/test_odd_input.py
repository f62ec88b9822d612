"""Whatever somebody sends to the forms of alerts, or looks for: an answer."""

from itertools import count

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.alerts.test_pages import judge, make_rule, no_rules, only
from tests.alerts.test_rule_pages import FORM
from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_all, ask_with_each, is_taken
from webapp.alerts.models import Alert

__all__ = ["no_rules"]


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(
    app: Flask, admin: ConsoleClient, odd: bytes
) -> None:
    make_rule(app)
    judge(app)
    alert = f"/alerts/{only(app, Alert).id}"
    good: Fields = {name: value for name, value in FORM.items() if isinstance(value, str)}
    numbers = count()

    def make(url: str, fields: Fields) -> TestResponse:
        return admin.send_form(url, good | {"name": f"made{next(numbers)}"} | fields)

    rules = ("/alerts/rules", "/alerts/rules/no-worker")
    places = (*rules, *(f"{rule}/preview" for rule in rules))
    ask_with_each(make, places, {}, (*FORM, "version", "hours"), odd)
    silence: Fields = {"rule": "no-worker", "lasts": "until", "reason": "x"}
    for url in (f"{alert}/silence", "/alerts/silences"):
        names = ("covers", "rule", "label", "lasts", "until", "reason")
        ask_with_each(admin.send_form, [url], silence, names, odd)
    for url in (f"{alert}/acknowledge", "/alerts/rules/no-worker/disable"):
        is_taken(admin.send_form, url, {"reason": odd})
    for url in ("/alerts", alert, "/alerts/rules", "/alerts/silences?state=all"):
        assert admin.get(url).status_code == 200


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_search_is_answered(admin: ConsoleClient, odd: bytes) -> None:
    searches = {
        "/alerts": ("q", "state", "severity", "key", "before", "after"),
        "/alerts/rules": ("q", "name", "metric", "threshold", "channels"),
        "/alerts/rules/new": ("q", "name", "metric", "threshold", "channels"),
        "/alerts/silences/new": ("rule", "label", "until", "lasts"),
    }
    for url, names in searches.items():
        ask_with_all(admin.look_for, url, {}, names, odd)

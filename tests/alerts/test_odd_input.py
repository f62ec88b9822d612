"""Whatever somebody sends to the forms of alerts, or looks for: an answer."""

import pytest
from flask import Flask

from tests.alerts.test_pages import judge, make_rule, no_rules, only
from tests.alerts.test_rule_pages import FORM
from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, form_body
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
    for number, name in enumerate((*FORM, "version", "hours")):
        body = form_body(good | {"name": f"made{number}"} | {name: odd})
        for url in ("", "/no-worker", "/preview", "/no-worker/preview"):
            assert admin.post(f"/alerts/rules{url}", **body).status_code < 500, (url, name)
    for name in ("covers", "rule", "label", "lasts", "until", "reason"):
        body = form_body({"rule": "no-worker", "lasts": "until", "reason": "x"} | {name: odd})
        for url in (f"{alert}/silence", "/alerts/silences"):
            assert admin.post(url, **body).status_code < 500, (url, name)
    for url in (f"{alert}/acknowledge", "/alerts/rules/no-worker/disable"):
        assert admin.post(url, **form_body({"reason": odd})).status_code < 500
    for url in ("/alerts", alert, "/alerts/rules", "/alerts/silences?state=all"):
        assert admin.get(url).status_code == 200


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_search_is_answered(admin: ConsoleClient, odd: bytes) -> None:
    for name in ("q", "state", "severity", "key", "before", "after"):
        assert admin.get("/alerts", query_string={name: odd}).status_code < 500
    for name in ("q", "name", "metric", "threshold", "channels"):
        assert admin.get("/alerts/rules", query_string={name: odd}).status_code < 500
        assert admin.get("/alerts/rules/new", query_string={name: odd}).status_code < 500
    for name in ("rule", "label", "until", "lasts"):
        assert admin.get("/alerts/silences/new", query_string={name: odd}).status_code < 500

"""Trying a flag on its page: attributes, rules, prerequisites and variants, step by step."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, create_segment
from webapp.flags.values import (
    Condition,
    FlagDraft,
    Operator,
    Prerequisite,
    Rule,
    SegmentDraft,
    Variant,
)

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    """A flag with a rule, a segment, variants and a prerequisite that is on."""
    plan = Condition(attribute="plan", operator=Operator.IN, values=("pro", "team"))
    german = Condition(attribute="country", operator=Operator.IN, values=("DE", "AT"))
    rule = Rule(name="paying", conditions=(plan,), segments=("germans",), percentage=100.0)
    with app.app_context(), transaction() as session:
        segment = SegmentDraft(name="germans", conditions=(german,))
        create_segment(session, segment, Trace(COMMAND, now, "r"))
        payments = FlagDraft(name="payments", enabled=True, percentage=100.0)
        create_flag(session, payments, by=COMMAND, now=now, reason="r")
        draft = FlagDraft(
            name="ui.beta",
            enabled=True,
            rules=(rule,),
            variants=(Variant(name="blue", weight=1, value={"hex": "#00f"}),),
            prerequisites=(Prerequisite(flag="payments"),),
        )
        create_flag(session, draft, by=COMMAND, now=now, reason="r")


def tried(client: "ConsoleClient", attributes: str, *, htmx: bool, subject: str = "u") -> str:
    query = {"subject": subject, "attributes": attributes}
    if htmx:
        return client.htmx("/flags/ui.beta", "flags-playground", query_string=query).text
    page = client.get("/flags/ui.beta", query_string=query).text
    return page[page.index('<section id="flags-playground"') :]


@pytest.mark.parametrize("htmx", [False, True])
def test_attributes_decide_by_rule_and_segment(viewer: "ConsoleClient", htmx: bool) -> None:
    attributes = json.dumps({"plan": "pro", "country": "DE"})
    text = tried(viewer, attributes, htmx=htmx)
    assert "<code>rule</code>" in text
    assert "rule paying" in text
    assert "variant blue" in text
    assert "#00f" in text
    assert "plan is in pro, team" in text
    assert "found pro" in text
    assert "segment germans" in text
    assert "payments" in text
    assert "must be on, is on (everyone)" in text
    assert "does not hold" not in text
    # What was typed stays.
    assert "&#34;country&#34;: &#34;DE&#34;" in text


def test_what_does_not_hold_says_what_was_found(viewer: "ConsoleClient") -> None:
    text = tried(viewer, '{"plan": "free"}', htmx=True)
    assert "<code>nobody</code>" in text
    assert "found free" in text
    assert "does not hold" in text
    assert "Variant" not in text


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize("attributes", ["{", "[1]", "plan=pro", '"a"'])
def test_attributes_that_cannot_be_read_say_so_and_stay(
    viewer: "ConsoleClient", htmx: bool, attributes: str
) -> None:
    text = tried(viewer, attributes, htmx=htmx)
    message = text[text.index('id="field-attributes-errors"') :][:500]
    assert "JSON" in message
    assert "Steps of the decision" not in text
    assert attributes.replace('"', "&#34;") in text
    assert 'value="u"' in text


def test_attributes_alone_are_a_question_too(viewer: "ConsoleClient") -> None:
    text = viewer.get("/flags/ui.beta", query_string={"attributes": ""}).text
    assert "Steps of the decision" in text


def test_the_page_tells_rules_variants_and_prerequisites_in_words(viewer: "ConsoleClient") -> None:
    text = viewer.htmx("/flags/ui.beta", "flags-targeting").text
    assert "plan is in pro, team" in text
    assert 'href="/flags/segments/germans"' in text
    assert 'href="/flags/payments"' in text
    assert "must be on" in text
    assert "100 %" in text


def test_the_page_has_code_to_copy_with_its_own_address(viewer: "ConsoleClient") -> None:
    text = viewer.get("/flags/ui.beta").text
    assert "http://localhost/api/v1/feature-flags/ui.beta/evaluate" in text
    assert "$TOKEN" in text
    assert "is_enabled(&#34;ui.beta&#34;, user_id, attributes=attributes)" in text


def test_the_list_tells_how_far_rules_raise_and_how_many_variants_there_are(
    viewer: "ConsoleClient",
) -> None:
    text = viewer.htmx("/flags", "flags-table").text
    assert "rules to 100 %" in text
    assert "1 variant" in text

"""Whatever somebody sends to the forms of flags: an answer, and lists that can still be read."""

from datetime import datetime
from itertools import count

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_each, is_taken
from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, create_group, create_segment
from webapp.flags.values import Condition, FlagDraft, GroupDraft, Operator, SegmentDraft

SETTINGS = (
    *("description", "enabled", "percentage", "whitelist", "blacklist", "environments"),
    *("environment_overrides", "starts_at", "expires_at", "stickiness", "tags", "metadata"),
    *("group", "rules-0-name", "rules-0-percentage", "rules-0-segments"),
    *("rules-0-conditions-0-attribute", "rules-0-conditions-0-operator"),
    *("rules-0-conditions-0-values", "variants-0-name", "variants-0-weight", "variants-0-value"),
    *("prerequisites-0-flag", "prerequisites-0-enabled", "add", "remove", "reviewed"),
    *("over", "began", "keep-rules", "reason", "version"),
)
SHARED = (
    *("description", "conditions-0-attribute", "conditions-0-operator", "conditions-0-values"),
    *("add", "remove", "over", "began", "keep-conditions", "reason", "version"),
)
# Those of one line read the same.
EDITORS = {
    ("/flags", "/flags/ui.beta"): ("name", *SETTINGS),
    ("/flags/segments", "/flags/segments/germans", "/flags/groups", "/flags/groups/checkout"): (
        "name",
        *SHARED,
    ),
}
FORMS = {
    "/flags/ui.beta/rollout": ("percentage", "reason", "version"),
    "/flags/ui.beta/switch": ("enabled", "reason"),
    "/flags/ui.beta/archive": ("reason",),
    "/flags/ui.beta/restore": ("reason",),
    # It stands, for it is not archived.
    "/flags/ui.beta/purge": ("reason",),
}


@pytest.fixture(autouse=True)
def flag(app: Flask, now: datetime) -> None:
    """One flag, one segment and one group."""
    trace = Trace(COMMAND, now, "first")
    german = Condition(attribute="country", operator=Operator.IN, values=("DE",))
    with app.app_context(), transaction() as session:
        create_segment(session, SegmentDraft(name="germans", conditions=(german,)), trace)
        create_group(session, GroupDraft(name="checkout"), trace)
        create_flag(session, FlagDraft(name="ui.beta"), by=COMMAND, now=now, reason="first")


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(admin: ConsoleClient, odd: bytes) -> None:
    names = count()

    def send(url: str, fields: Fields) -> TestResponse:
        # A name of its own each time, or it would be refused for being taken.
        named: Fields = {"name": f"made{next(names)}"}
        return admin.send_form(url, named | fields)

    good: Fields = {"percentage": "5", "reason": "r"}
    for urls, fields in EDITORS.items():
        ask_with_each(send, urls, good, fields, odd)
    for url, fields in FORMS.items():
        ask_with_each(send, [url], good, fields, odd)
    for url in ("/flags", "/flags/ui.beta", "/flags/ui.beta/edit", "/audit"):
        assert admin.get(url).status_code == 200
    for url in ("/flags/segments", "/flags/groups", "/flags/segments/germans/edit"):
        assert admin.get(url).status_code == 200
    assert admin.get("/api/v1/feature-flags").status_code == 200


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_a_flag_can_be_tried_with_anything(admin: ConsoleClient, odd: bytes) -> None:
    for field in ("subject", "environment", "attributes"):
        is_taken(admin.look_for, "/flags/ui.beta", {"subject": "a", field: odd[:10_000]})


@pytest.mark.parametrize("skip", ["9" * 30, "9" * 4300, "-5", "\u0663"])
def test_a_page_far_beyond_the_last_is_empty_or_the_first(admin: ConsoleClient, skip: str) -> None:
    assert admin.get("/flags", query_string={"skip": skip}).status_code == 200

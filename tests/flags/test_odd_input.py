"""Whatever somebody sends to the forms of flags: an answer, and lists that can still be read."""

from datetime import datetime

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, form_body
from webapp.actors import COMMAND
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft

SETTINGS = (
    *("description", "enabled", "percentage", "whitelist", "blacklist", "environments"),
    *("environment_overrides", "starts_at", "expires_at", "stickiness", "tags", "metadata"),
    *("reason", "version"),
)
FORMS = {
    "/flags/ui.beta": SETTINGS,
    "/flags/ui.beta/rollout": ("percentage", "reason", "version"),
    "/flags/ui.beta/switch": ("enabled", "reason"),
    "/flags/ui.beta/archive": ("reason",),
    "/flags/ui.beta/restore": ("reason",),
    # It stands, for it is not archived.
    "/flags/ui.beta/purge": ("reason",),
}


@pytest.fixture(autouse=True)
def flag(app: Flask, now: datetime) -> None:
    """One flag."""
    with app.app_context(), transaction() as session:
        create_flag(session, FlagDraft(name="ui.beta"), by=COMMAND, now=now, reason="first")


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(admin: ConsoleClient, odd: bytes) -> None:
    for number, field in enumerate(("name", *SETTINGS)):
        made: Fields = {"name": f"flag{number}", "percentage": "5", "reason": "r", field: odd}
        assert admin.post("/flags", **form_body(made)).status_code < 500, field
    for url, fields in FORMS.items():
        for field in fields:
            changed: Fields = {"percentage": "5", "reason": "r", field: odd}
            assert admin.post(url, **form_body(changed)).status_code < 500, (url, field)
    for url in ("/flags", "/flags/ui.beta", "/flags/ui.beta/edit", "/audit"):
        assert admin.get(url).status_code == 200
    assert admin.get("/api/v1/feature-flags").status_code == 200


@pytest.mark.parametrize("skip", ["9" * 30, "9" * 4300, "-5", "\u0663"])
def test_a_page_far_beyond_the_last_is_empty_or_the_first(admin: ConsoleClient, skip: str) -> None:
    assert admin.get("/flags", query_string={"skip": skip}).status_code == 200

"""Whatever somebody sends to the form of breakers: an answer."""

import pytest
from flask import Flask

from tests.breakers.test_service import add
from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_each
from webapp import clock
from webapp.db import transaction

# What each reads.
FORMS = {
    "reset": ("reason",),
    "force": ("reason", "force", "minutes"),
    "release": ("reason",),
    "thresholds": ("reason", "version", "failures", "open_seconds"),
    "thresholds/restore": ("reason", "version"),
}


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_the_form_answers_whatever_its_field_holds(
    operator: ConsoleClient, app: Flask, odd: bytes
) -> None:
    with app.app_context(), transaction() as session:
        add(session, "mail", clock.now())
    for path, fields in FORMS.items():
        good: Fields = {"reason": b"a try", "force": b"open"}
        ask_with_each(operator.send_form, [f"/breakers/mail/{path}"], good, fields, odd)
    assert operator.get("/breakers").status_code == 200
    assert operator.get("/breakers/mail").status_code == 200

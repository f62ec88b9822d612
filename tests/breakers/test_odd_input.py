"""Whatever somebody sends to the form of breakers: an answer."""

import pytest
from flask import Flask

from tests.breakers.test_service import add
from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, form_body
from webapp import clock
from webapp.db import transaction


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_the_form_answers_whatever_its_field_holds(
    operator: ConsoleClient, app: Flask, odd: bytes
) -> None:
    with app.app_context(), transaction() as session:
        add(session, "mail", clock.now())
    assert operator.post("/breakers/mail/reset", **form_body({"reason": odd})).status_code < 500
    for path in ("force", "release", "thresholds", "thresholds/restore"):
        for field in ("reason", "force", "minutes", "version", "failures", "open_seconds"):
            body = form_body({"reason": b"a try", "force": b"open", field: odd})
            assert operator.post(f"/breakers/mail/{path}", **body).status_code < 500
    assert operator.get("/breakers").status_code == 200
    assert operator.get("/breakers/mail").status_code == 200

"""Whatever somebody sends to the forms of accounts: an answer, for strangers too."""

import pytest
from flask import Flask

from tests.conftest import PASSWORD, ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, form_body


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(
    viewer: ConsoleClient, app: Flask, odd: bytes
) -> None:
    new = "a new long password"
    own: Fields = {"current": PASSWORD, "password": new, "repeated": new}
    changes: list[Fields] = [{"current": odd}, {"password": odd}, dict.fromkeys(own, odd)]
    changes.append({"password": odd, "repeated": odd})
    for fields in changes:
        answer = viewer.post("/account/password", **form_body(own | fields))
        assert answer.status_code in {303, 400, 422}
    stranger = app.test_client()
    known: Fields = {"username": "viewer", "password": PASSWORD}
    for field in ("username", "password", "next"):
        answer = stranger.post("/sign-in", **form_body(known | {field: odd}))
        assert answer.status_code < 500, field
    assert stranger.get("/sign-in", query_string={"next": odd}).status_code < 500
    for url in ("/account/sign-out-everywhere", "/sign-out"):
        assert viewer.post(url, **form_body({"odd": odd})).status_code in {303, 302, 400}

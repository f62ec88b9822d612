"""The pages of channels: who sees and does what, and forms that keep what was typed."""

import pytest
from flask import Flask

from tests.conftest import SECRET, ConsoleClient
from webapp.channels.models import Channel
from webapp.channels.service import find_channel, open_channel
from webapp.db import reading, transaction

URL = "jsons://ada:hunter2@hooks.example.com/hush"
GOOD = {"name": "on-call", "url": URL, "enabled": "1", "reason": "Needed"}


def channel(app: Flask) -> Channel:
    with app.app_context(), reading() as session:
        return find_channel(session, "on-call")


def address(app: Flask) -> str | None:
    with app.app_context(), reading() as session:
        return open_channel(session, "on-call", secret_key=SECRET).url


def test_a_channel_is_made_shown_and_never_tells_its_address(
    app: Flask, admin: ConsoleClient
) -> None:
    made = admin.post("/channels", data=GOOD, follow_redirects=True)
    assert made.status_code == 200
    for page in (made, admin.get("/channels/on-call/edit")):
        assert "jsons://hooks.example.com" in page.text
        assert "hush" not in page.text
        assert "hunter2" not in page.text
    assert address(app) == URL


def test_a_refused_form_keeps_what_was_typed_and_names_each_field(admin: ConsoleClient) -> None:
    refused = admin.post(
        "/channels", data={"name": "On Call", "url": "nonsense", "reason": "", "enabled": "1"}
    )
    assert refused.status_code == 422
    assert 'value="On Call"' in refused.text
    assert 'value="nonsense"' in refused.text
    assert refused.text.count("field__errors") == 3


def test_a_form_by_htmx_goes_on_and_comes_back_alone(admin: ConsoleClient) -> None:
    refused = admin.htmx("/channels", "channels-form", "POST", data=GOOD | {"name": ""})
    assert refused.status_code == 422
    assert "<html" not in refused.text
    made = admin.htmx("/channels", "channels-form", "POST", data=GOOD)
    assert made.headers["HX-Redirect"] == "/channels"


def test_an_empty_address_keeps_the_one_that_stands(app: Flask, admin: ConsoleClient) -> None:
    admin.post("/channels", data=GOOD)
    saved = admin.post("/channels/on-call", data={"url": "", "reason": "Quiet", "version": "1"})
    assert saved.status_code == 303
    assert not channel(app).enabled
    assert address(app) == URL


def test_who_was_overtaken_is_told_and_may_save_over_it(app: Flask, admin: ConsoleClient) -> None:
    admin.post("/channels", data=GOOD)
    late = {"url": "", "reason": "Quiet", "version": "1"}
    admin.post("/channels/on-call", data=late)
    refused = admin.post("/channels/on-call", data=late | {"enabled": "1"})
    assert refused.status_code == 409
    assert "Changed meanwhile." in refused.text
    assert 'name="version" value="2"' in refused.text
    assert not channel(app).enabled
    assert (
        admin.post("/channels/on-call", data=late | {"enabled": "1", "version": "2"}).status_code
        == 303
    )
    assert channel(app).enabled


def test_an_unreadable_address_is_told(app: Flask, admin: ConsoleClient) -> None:
    admin.post("/channels", data=GOOD)
    with app.app_context(), transaction() as session:
        find_channel(session, "on-call").sealed_url = "gAAAAA"
    listed = admin.get("/channels").text
    assert "Unreadable" in listed
    assert "SECRET_KEY has changed" in listed
    assert "cannot be read" in admin.get("/channels/on-call/edit").text
    admin.post("/channels/on-call", data=GOOD | {"version": "1"})
    assert address(app) == URL


def test_a_test_changes_nothing_and_leads_to_its_job(app: Flask, admin: ConsoleClient) -> None:
    admin.post("/channels", data=GOOD)
    sent = admin.htmx("/channels/on-call/test", method="POST")
    assert sent.status_code == 204
    assert "sends a test to on-call" in admin.get(sent.headers["HX-Redirect"]).text
    plain = admin.post("/channels/on-call/test")
    assert (plain.status_code, plain.location[:6]) == (303, "/jobs/")
    assert channel(app).version == 1


def test_a_viewer_is_offered_nothing_to_press(viewer: ConsoleClient) -> None:
    page = viewer.get("/channels").text
    assert "New channel" not in page
    assert viewer.get("/channels/new").status_code == 403
    assert viewer.post("/channels/x/test").status_code == 403


def test_a_removal_asks_in_words_that_name_the_channel(app: Flask, admin: ConsoleClient) -> None:
    admin.post("/channels", data=GOOD)
    asked = admin.post("/channels/on-call/remove")
    assert asked.status_code == 422
    assert "Remove the channel on-call?" in asked.text
    assert channel(app).name == "on-call"
    admin.post("/channels/on-call/remove", data={"reason": "Gone"})
    assert "No channels yet" in admin.get("/channels").text


@pytest.mark.parametrize("path", ["/channels/gone/edit", "/channels/%00/edit", "/channels/a%2Fb"])
def test_what_is_not_there_is_not_found(admin: ConsoleClient, path: str) -> None:
    assert admin.get(path).status_code in {400, 404, 405}

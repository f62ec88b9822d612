"""Which writes demand the form token: those that a browser could have been tricked into."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import ConsoleClient

ENQUEUE = "/api/v1/queue/jobs/test_echo"


def test_a_form_without_its_token_is_refused(operator: ConsoleClient) -> None:
    operator.csrf = False
    answer = operator.post("/jobs/1/retry")
    assert answer.status_code == 400
    assert "Load the page again" in answer.text


def test_a_session_does_not_write_to_the_api_without_the_token(operator: ConsoleClient) -> None:
    operator.csrf = False
    assert operator.post(ENQUEUE, json={}).status_code == 400
    operator.csrf = True
    assert operator.post(ENQUEUE, json={}).status_code == 202


def test_a_program_without_a_session_is_asked_for_a_token(app: Flask) -> None:
    answer = FlaskClient(app, use_cookies=False).post(ENQUEUE, json={})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/sign-in", "/", "/nothing-here", "/health", "/api/v1/nothing"])
def test_every_answer_is_hardened(client: ConsoleClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("given", "kept"), [("a-good-id-123", True), ("short", False), ("bad id with spaces", False)]
)
def test_a_well_formed_request_id_is_taken_over(
    client: ConsoleClient, given: str, kept: bool
) -> None:
    answer = client.get("/health", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) is kept

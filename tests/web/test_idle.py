"""What keeps a session alive: what a person does, and not what a forgotten tab asks by itself."""

from tests.conftest import ConsoleClient


def test_a_page_renews_the_session_and_a_poll_does_not(viewer: ConsoleClient) -> None:
    assert "Set-Cookie" in viewer.get("/jobs").headers
    assert "Set-Cookie" not in viewer.htmx("/jobs", "jobs-table").headers


def test_an_action_by_htmx_renews_the_session(operator: ConsoleClient) -> None:
    assert "Set-Cookie" in operator.htmx("/jobs/1/retry", method="POST").headers

"""What the log says of a request: who did what, and nothing that was sent with it."""

import logging
from typing import Any

import pytest
from flask import Flask

from tests.conftest import ConsoleClient

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    messages = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [message for message in messages if message["event"] == "request_answered"]


def test_a_line_tells_of_the_request_and_not_of_its_query(
    admin: ConsoleClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "webapp.web.request_log"):
        admin.get("/jobs/7?token=hunter2", headers={"X-Request-ID": "given-0001"})
    (line,) = told(caplog)
    assert line["seconds"] > 0
    assert {name: line[name] for name in ("method", "path", "route", "status", "level")} == {
        "method": "GET",
        "path": "/jobs/7",
        "route": "/jobs/<int:job_id>",
        "status": 404,
        "level": "info",
    }
    assert line["request_id"] == "given-0001"
    assert "hunter2" not in str(line)


@pytest.mark.parametrize(
    ("path", "headers", "level"),
    [
        ("/health", {}, "debug"),
        ("/jobs", {"HX-Request": "true", "HX-Target": "jobs-table"}, "debug"),
        ("/jobs", {"HX-Request": "true", "HX-Boosted": "true"}, "info"),
        ("/jobs", {}, "info"),
        ("/static/nothing.css", {}, "info"),
    ],
)
def test_what_nobody_did_is_told_to_those_who_debug(
    app: Flask,
    admin: ConsoleClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    headers: dict[str, str],
    level: str,
) -> None:
    with caplog.at_level(logging.DEBUG, "webapp.web.request_log"):
        admin.get(path, headers=headers)
    assert [line["level"] for line in told(caplog)] == [level]

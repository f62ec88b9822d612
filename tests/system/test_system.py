"""The facts of an installation, as a page and over JSON."""

import re
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import SECRET, ConsoleClient, make_settings
from webapp.roles import Role
from webapp.system.queries import Origin, settings_in_force

PAGE = "/settings/system"
URL = "/api/v1/system"


def test_the_page_shows_checks_facts_and_versions(admin: ConsoleClient) -> None:
    page = admin.get(PAGE).text
    for word in ("Instance folder", "Schema", "Queue", "Python", "SQLAlchemy", "Started"):
        assert word in page
    assert re.search(r"(sqlite|postgresql), [\d.,]+ (B|KiB|MiB)", page)


@pytest.mark.parametrize("role", list(Role))
def test_settings_are_for_admins(client: ConsoleClient, role: Role) -> None:
    client.sign_in(role)
    page = client.get(PAGE)
    assert page.status_code == 200
    assert ("SESSION_IDLE_SECONDS" in page.text) == (role == Role.ADMIN)
    assert client.get(URL).status_code == (200 if role == Role.ADMIN else 403)


def test_no_secret_is_told(admin: ConsoleClient) -> None:
    for path in (PAGE, URL):
        text = admin.get(path).text
        assert "SECRET_KEY" in text
        assert SECRET not in text


def test_the_facts_over_json(app: Flask, admin: ConsoleClient) -> None:
    told = admin.get(URL).get_json()
    assert told["environment"] == "test"
    assert told["started_at"].endswith("Z")
    assert told["uptime_seconds"] >= 0
    assert told["database"]["bytes"] > 0
    assert told["packages"]["Flask"]
    checks = {check["about"]: check for check in told["checks"]}
    assert checks["schema"]["good"]
    assert checks["database"]["good"]
    assert {item["origin"] for item in told["settings"]} <= set(Origin)


def test_a_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    environ = {"LOG_LEVEL": "ERROR", "PORT": "1", "FF_CACHE_TTL": " "}
    facts = settings_in_force(make_settings(tmp_path, **environ), environ)
    origins = {fact.setting.name: (fact.setting.value, fact.origin) for fact in facts}
    assert origins["LOG_LEVEL"] == ("ERROR", Origin.ENVIRONMENT)
    assert origins["FF_CACHE_TTL"] == ("60", Origin.DEFAULT)
    # Nobody named a database: it follows from the folder.
    assert origins["DATABASE_URL"][1] == Origin.DERIVED
    assert origins["SECRET_KEY"][0] == f"set, {len(SECRET)} bytes"

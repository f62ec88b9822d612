"""The OpenAPI document: every address stands in it, and the answers are as it says."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from pydantic import TypeAdapter

from tests.architecture.population import populate
from tests.architecture.routes import Route, routes_of
from tests.conftest import ConsoleClient
from webapp.app import create_app
from webapp.db import db, will_write
from webapp.files import write_whole
from webapp.reports.files import path_of
from webapp.roles import Role
from webapp.settings import Settings
from webapp.web.openapi import Operation, openapi_document

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

PREFIX = "/api/v1/"
# One thing of each kind that populate() makes, where an address names one.
NAMED = {
    "/api/v1/circuit-breakers/<path:name>": "source:source1",
    "/api/v1/rate-limits/<path:name>": "source:source1",
    "/api/v1/feature-flags/<name>": "flag.number0",
    "/api/v1/feature-flags/<name>/audit": "flag.number0",
    "/api/v1/feature-flags/<name>/check": "flag.number0",
    "/api/v1/feature-flags/<name>/guards": "flag.number0",
    "/api/v1/feature-flags/metrics/<name>": "flag.number0",
    "/api/v1/segments/<name>": "german0",
    "/api/v1/feature-flag-groups/<name>": "group0",
    "/api/v1/queue/job-types/<name>": "etl",
    "/api/v1/queue/schedules/<name>": "schedule0",
    "/api/v1/sources/<name>": "source0",
    "/api/v1/sources/<name>/drift": "source0",
    "/api/v1/sources/<name>/records": "source0",
    "/api/v1/sources/<name>/rejected": "source0",
    "/api/v1/sources/<name>/runs": "source0",
    "/api/v1/channels/<name>": "channel0",
    "/api/v1/alert-rules/<name>": "rule0",
}


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    return openapi_document(app)


def api_routes(app: Flask) -> Iterator[Route]:
    return (route for route in routes_of(app) if route.rule.startswith(PREFIX))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_route_is_in_the_document_and_nothing_else(
    app: Flask, document: dict[str, Any]
) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.rule), route.method.lower())
        for route in api_routes(app)
    }
    assert {(path, method) for path, method, _ in operations(document)} == served
    assert len(served) > 60


def test_every_view_says_what_it_takes_and_gives(app: Flask) -> None:
    """Without it the document would only know that there is an answer."""
    silent = [
        f"{route.method} {route.rule}"
        for route in api_routes(app)
        if not hasattr(app.view_functions[route.endpoint], "operation")
    ]
    assert silent == []


def test_operations_have_names_of_their_own_summaries_and_roles(document: dict[str, Any]) -> None:
    found = [operation for _, _, operation in operations(document)]
    names = [operation["operationId"] for operation in found]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []
    # Plain text, unlike descriptions.
    assert all(operation["summary"].endswith((".", '"')) for operation in found)
    assert not any("`" in operation["summary"] for operation in found)
    open_to_all = {item["operationId"] for item in found if item.get("security") == []}
    assert open_to_all == {"accounts_sign_in"}
    assert all(
        re.search(r"Needs (the role (viewer|operator|admin)|no token)\.", operation["description"])
        for operation in found
    )


def test_every_reference_leads_somewhere_and_nothing_is_left_over(
    document: dict[str, Any],
) -> None:
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(document)))
    there = {
        f"{kind}/{name}"
        for kind in ("headers", "responses", "schemas")
        for name in document["components"][kind]
    }
    assert used == there


def test_path_parameters_are_those_of_the_address(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        declared = [item["name"] for item in operation["parameters"] if item["in"] == "path"]
        assert declared == re.findall(r"\{(\w+)\}", path)


def test_what_writes_takes_the_key_and_what_makes_may_require_it(
    app: Flask, settings: Settings, document: dict[str, Any]
) -> None:
    def keys(document: dict[str, Any]) -> dict[str, bool]:
        return {
            operation["operationId"]: item["required"]
            for _, _, operation in operations(document)
            for item in operation["parameters"]
            if item["name"] == settings.idempotency_header
        }

    assert set(keys(document).values()) == {False}
    demanding = create_app(replace(settings, idempotency_required=True))
    required = {name for name, needed in keys(openapi_document(demanding)).items() if needed}
    assert required == {
        "accounts_make_token",
        "accounts_make_user",
        "jobs_enqueue",
        "batches_create",
        "flags_create",
        "flags_rollout_report_errors",
        "flags_shared_create_segment",
        "flags_shared_create_group",
        "schedules_create",
        "schedules_run",
        "sources_create",
        "sources_run",
        "channels_create",
        "channels_test",
        "reports_create",
        "alerts_create_rule",
        "alerts_create_silence",
        "predictions_train",
        "predictions_predict",
    }
    assert "flags_evaluation_evaluate_flag" not in keys(document)


def test_evaluation_needs_no_token_where_it_is_public(
    settings: Settings, document: dict[str, Any]
) -> None:
    def security(document: dict[str, Any]) -> set[str]:
        return {
            operation["operationId"]
            for _, _, operation in operations(document)
            if {} in operation.get("security", [])
        }

    public = create_app(replace(settings, public_evaluation=True))
    assert security(document) == set()
    assert security(openapi_document(public)) == {
        "flags_evaluation_evaluate_flag",
        "flags_evaluation_evaluate_bulk",
        "flags_evaluation_check_flag",
        "flags_evaluation_check_flag_by_query",
    }


def test_what_is_asked_for_is_answered_as_the_document_says(
    app: Flask, admin: ConsoleClient, now: datetime
) -> None:
    """Every GET, over things of each kind: all that was promised, and nothing else."""
    with app.app_context(), will_write():
        populate(db.session(), range(12), now=now)
        db.session.commit()
    write_whole(path_of(app.extensions["settings"].reports_dir, 1, "html"), [b"A report"])
    asked = 0
    for route in api_routes(app):
        if route.method != "GET":
            continue
        operation: Operation = vars(app.view_functions[route.endpoint])["operation"]
        url = re.sub(r"<(?:path:)?\w+>", NAMED.get(route.rule, "nothing"), route.rule)
        answer = admin.get(re.sub(r"<int:\w+>", "1", url), buffered=True)
        assert answer.status_code in operation.answers, f"{route.rule}: {answer.status}"
        if answer.is_json:
            kind = TypeAdapter(operation.answers[answer.status_code])
            kind.validate_json(answer.data, strict=False, extra="forbid")
        asked += 1
    assert asked > 25


def test_the_document_is_served_once_written_and_cached(viewer: ConsoleClient) -> None:
    answer = viewer.get("/api/v1/openapi.json")
    assert answer.get_json()["openapi"] == "3.1.0"
    again = viewer.get("/api/v1/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_is_for_people_who_are_signed_in(client: ConsoleClient) -> None:
    answer = client.get("/api/docs")
    assert (answer.status_code, answer.location) == (302, "/sign-in?next=/api/docs")
    page = client.sign_in(Role.VIEWER).get("/api/docs").text
    assert 'data-document="/api/v1/openapi.json"' in page

"""Metrics over HTTP: who may read them, and what they tell."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.architecture.population import populate
from tests.conftest import ConsoleClient, end, make_settings
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now as clock_now
from webapp.db import db, transaction, will_write
from webapp.roles import Role
from webapp.telemetry.standing import StandingBook

FAR = {"REMOTE_ADDR": "10.0.0.9"}
TEXT = ("/metrics", "/observability/metrics")
JSON = "/observability/metrics/json"


@pytest.fixture(autouse=True)
def fresh(app: Flask) -> None:
    """Nothing that was asked for another test."""
    app.extensions["standing_book"] = StandingBook()


@pytest.fixture
def populated(app: Flask) -> None:
    with app.app_context(), will_write():
        populate(db.session(), range(7), now=clock_now())
        db.session.commit()


def samples(client: FlaskClient, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a sample by the values of its labels, in the order of their names."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize("url", TEXT)
def test_this_machine_may_read(url: str, client: FlaskClient) -> None:
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("url", TEXT)
def test_another_machine_may_not(url: str, client: FlaskClient) -> None:
    answer = client.get(url, environ_overrides=FAR)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert b"api_requests" not in answer.data


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_whoever_comes_through_a_proxy_on_this_machine_may_not(
    header: str, client: FlaskClient
) -> None:
    assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 401


@pytest.mark.parametrize("address", ["", "nonsense", "::2", "128.0.0.1"])
def test_whoever_has_another_address_may_not(address: str, client: FlaskClient) -> None:
    answer = client.get("/metrics", environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_every_loopback_address_is_this_machine(address: str, client: FlaskClient) -> None:
    answer = client.get("/metrics", environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 200


def test_a_token_opens_them_from_anywhere(app: Flask, client: FlaskClient) -> None:
    with app.app_context(), transaction() as session:
        made = create_token(session, "prometheus", role=Role.VIEWER, by=COMMAND, now=clock_now())
    headers = {"Authorization": f"Bearer {made.text}"}
    assert client.get("/metrics", environ_overrides=FAR, headers=headers).status_code == 200
    wrong = {"Authorization": "Bearer swy_invented"}
    assert client.get("/metrics", environ_overrides=FAR, headers=wrong).status_code == 401


def test_a_viewer_who_is_signed_in_may_read(viewer: FlaskClient) -> None:
    assert viewer.get("/metrics", environ_overrides=FAR).status_code == 200


def test_a_setting_opens_them_to_everybody(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, METRICS_PUBLIC="true"))
    try:
        answer = app.test_client().get("/metrics", environ_overrides=FAR)
    finally:
        end(app)
    assert answer.status_code == 200
    # This one has a database without tables: what was counted is told all the same.
    assert "api_requests_total" in answer.text
    assert "queue_depth" not in answer.text


def test_requests_are_counted_by_route_and_status(viewer: FlaskClient) -> None:
    route = ("/jobs/<int:job_id>", "GET", "404")
    before = samples(viewer, "api_requests_total").get(route, 0)
    for job_id in (1, 2, 3):
        viewer.get(f"/jobs/{job_id}")
    counted = samples(viewer, "api_requests_total")
    assert counted[route] == before + 3
    assert samples(viewer, "api_request_duration_seconds_count")[route] == before + 3
    assert not any("/jobs/1" in labels for labels in counted)


def test_refusals_and_what_is_nowhere_are_counted_too(client: ConsoleClient) -> None:
    refused, nowhere = ("/api/v1/rate-limits", "GET", "401"), ("nowhere", "GET", "404")
    odd = ("/health", "other", "405")
    before = samples(client, "api_requests_total")
    client.get("/api/v1/rate-limits")
    client.get("/no/such/place")
    client.get("/no/other/place")
    after = samples(client, "api_requests_total")
    assert after[refused] - before.get(refused, 0) == 1
    assert after[nowhere] - before.get(nowhere, 0) == 2
    assert odd not in after
    client.open("/health", method="BREW")
    invented = [labels for labels in samples(client, "api_requests_total") if "BREW" in labels]
    assert invented == []


@pytest.mark.usefixtures("populated")
def test_gauges_tell_how_things_stand(client: FlaskClient) -> None:
    assert samples(client, "circuit_breaker_state")["source:source0",] == 0
    # It has been open for its time.
    assert samples(client, "circuit_breaker_state")["source:source1",] == 1
    assert samples(client, "dlq_jobs") == {("open",): 1, ("resolved",): 0}
    assert samples(client, "dlq_oldest_age_seconds")[()] >= 0
    depths = samples(client, "queue_depth")
    assert depths["default", "queued"] == 1
    assert sum(depths.values()) == 4
    assert samples(client, "workers_alive") == {(): 1}
    assert samples(client, "db_records_total") == {("csv",): 0}
    firing = samples(client, "alerts_firing")
    assert firing == {("info",): 0, ("warning",): 1, ("error",): 2, ("critical",): 0}
    assert samples(client, "feature_flag_snapshot_age_seconds")[()] >= 0


@pytest.mark.usefixtures("populated")
def test_the_figures_of_sources_are_told_to_programs(viewer: FlaskClient) -> None:
    body = viewer.get(JSON).json
    assert body is not None
    assert body["at"].endswith("Z")
    source = body["sources"][1]
    assert (source["name"], source["kind"]) == ("source1", "csv")
    assert source["last_run"]["status"] == "succeeded"
    assert source["last_run"]["records"] == {
        "processed": 2,
        "inserted": 1,
        "updated": 0,
        "unchanged": 0,
        "rejected": 1,
    }
    assert source["last_run"]["checkpoint"] == {"bytes_read": 0, "bytes_total": 1}
    assert source["rate_limit"]["limit"] == {"calls": 10, "seconds": 60}
    assert source["rate_limit"]["pause"]["reason"] == "429 Too Many Requests"
    assert len(body["runs"]) == 7
    assert body["breakers"][1] == {"name": "source:source1", "state": "half_open"}


def test_only_viewers_are_told(client: FlaskClient) -> None:
    assert client.get(JSON).status_code == 401

"""The pages of reports and their API: asked for, listed, downloaded, deleted."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tasks.work import run
from tests.conftest import ConsoleClient
from webapp.db import reading, transaction
from webapp.jobs.models import Job
from webapp.reports.models import Report

API = "/api/v1/reports"
GOOD = {"kind": "operations", "format": "html", "days": "7", "source": ""}


def work(app: Flask) -> None:
    """Run what waits."""
    with app.app_context():
        with reading() as session:
            waiting = session.scalars(select(Job.id).where(Job.state == "queued")).all()
        for job_id in waiting:
            run(app, job_id, worker="w", early=True)


def newest(app: Flask) -> Report:
    with app.app_context(), reading() as session:
        report = session.scalar(select(Report).order_by(Report.id.desc()).limit(1))
    assert report is not None
    return report


def file_of(app: Flask) -> Path:
    report = newest(app)
    folder: Path = app.extensions["settings"].reports_dir
    return folder / f"report-{report.id}.{report.format}"


def test_a_report_from_the_form_to_its_file_and_its_end(app: Flask, admin: ConsoleClient) -> None:
    made = admin.post("/reports", data=GOOD, follow_redirects=True)
    assert "Queued" in made.text
    number = newest(app).id
    assert admin.get(f"/reports/{number}/download").status_code == 404
    work(app)
    assert "Ready" in admin.get("/reports").text
    sent = admin.get(f"/reports/{number}/download", buffered=True)
    assert sent.status_code == 200
    assert sent.data == file_of(app).read_bytes()
    disposition = sent.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=operations-")
    assert disposition.endswith(f"-{number}.html")
    assert "no-store" in sent.headers["Cache-Control"]
    path = file_of(app)
    assert admin.post(f"/reports/{number}/remove").status_code == 422
    admin.post(f"/reports/{number}/remove", data={"reason": "Not needed"})
    assert not path.exists()
    assert "No reports yet" in admin.get("/reports").text


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        ({"days": ""}, "days"),
        ({"days": "0"}, "days"),
        ({"days": "²"}, "days"),
        ({"days": "9" * 5000}, "days"),
        ({"kind": "x"}, "kind"),
        ({"format": "../x"}, "format"),
        ({"kind": "source"}, "source"),
        ({"kind": "source", "source": "gone"}, "source"),
    ],
)
def test_a_refused_form_keeps_what_was_typed(
    operator: ConsoleClient, odd: dict[str, str], field: str
) -> None:
    refused = operator.post("/reports", data=GOOD | {"days": "8"} | odd)
    assert refused.status_code == 422
    assert f"field-{field}-errors" in refused.text
    if "days" not in odd:
        assert 'value="8"' in refused.text


@pytest.mark.parametrize("name", ["..%2f..%2fsecret_key", "-1", "1.html", "0x1", "9" * 30])
def test_no_path_leads_out_of_the_folder(viewer: ConsoleClient, name: str) -> None:
    assert viewer.get(f"/reports/{name}/download").status_code == 404
    assert viewer.get(f"{API}/{name}/download").status_code == 404


def test_a_row_that_somebody_meddled_with_names_no_other_file(
    app: Flask, admin: ConsoleClient
) -> None:
    admin.post("/reports", data=GOOD)
    work(app)
    number = newest(app).id
    with app.app_context(), transaction() as session:
        session.get_one(Report, number).source = 'x"; filename="../../evil'
    sent = admin.get(f"/reports/{number}/download", buffered=True)
    assert sent.status_code == 200
    assert "\n" not in sent.headers["Content-Disposition"]


def test_a_viewer_downloads_and_makes_none(app: Flask, viewer: ConsoleClient) -> None:
    assert "New report" not in viewer.get("/reports").text
    assert viewer.get("/reports/new").status_code == 403
    assert viewer.post("/reports", data=GOOD).status_code == 403
    del app


def test_over_json_from_asking_to_the_file(app: Flask, admin: ConsoleClient) -> None:
    made = admin.post(API, json={"format": "json", "days": 3})
    assert made.status_code == 202
    assert made.json is not None
    number = made.json["id"]
    assert made.location == f"{API}/{number}"
    assert made.json["state"] == "queued"
    work(app)
    shown = admin.get(f"{API}/{number}").json
    assert shown is not None
    assert shown["state"] == "ready"
    facts = admin.get(f"{API}/{number}/download", buffered=True)
    assert facts.json is not None
    assert facts.json["kind"] == "operations"
    assert len(facts.data) == shown["size"]
    listed = admin.get(API).json
    assert listed is not None
    assert [item["id"] for item in listed["items"]] == [number]
    assert admin.delete(f"{API}/{number}").status_code == 422
    assert admin.delete(f"{API}/{number}", json={"reason": "Done"}).status_code == 204
    assert admin.get(f"{API}/{number}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "x"},
        {"format": "exe"},
        {"days": 91},
        {"days": "7"},
        {"days": True},
        {"source": "a"},
        {"channels": ["gone"]},
        {"channels": ["\ud800"]},
        {"channels": "a"},
        {"more": 1},
    ],
)
def test_odd_bodies_are_refused(operator: ConsoleClient, body: dict[str, Any]) -> None:
    assert operator.post(API, json=body).status_code in {400, 422}


@pytest.mark.parametrize("query", ["kind=x", "limit=0", "limit=x"])
def test_odd_queries_are_refused(viewer: ConsoleClient, query: str) -> None:
    assert viewer.get(f"{API}?{query}").status_code == 422

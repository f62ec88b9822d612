"""Reports over JSON: the same services as the pages, for programs."""

from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.reports import service
from webapp.reports.queries import list_reports, view_report
from webapp.reports.responses import ReportRemovalQuery, ReportResponse, ReportsQuery
from webapp.reports.schemas import NewReport, report_as_json
from webapp.reports.values import ReportKind
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.downloads import stored_file_answer
from webapp.web.openapi import Page, describes
from webapp.web.requests import current_settings, makes
from webapp.web.schemas import Removal, read_json, read_limit, read_removal

blueprint = Blueprint("reports_api", __name__, url_prefix="/api/v1/reports")


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Page[ReportResponse]}, query=ReportsQuery)
def index() -> Response:
    """List reports, newest first."""
    kind = request.args.get("kind", "")
    if kind and kind not in set(ReportKind):
        raise Invalid.field("kind", f"One of {', '.join(ReportKind)}.")
    size = read_limit()
    page = list_reports(db.session, read_cursor(), kind=kind, size=size)
    links = neighbours(page)
    return json_answer(
        {
            "items": [report_as_json(view) for view in page.rows],
            "total": page.total,
            "capped": page.capped,
            "previous": links["previous_url"],
            "next": links["next_url"],
        }
    )


@blueprint.post("")
@requires(Role.OPERATOR)
@describes({202: ReportResponse}, body=NewReport, example={"format": "json", "days": 7})
@makes
def create() -> Response:
    """Ask for a report: 202 with its address."""
    report = service.request_report(db.session, read_json(NewReport).draft(), by=actor(), now=now())
    report_id = report.id
    db.session.commit()
    response = _answer(report_id, 202)
    response.headers["Location"] = url_for("reports_api.show", report_id=report_id)
    return response


@blueprint.get("/<int:report_id>")
@requires(Role.VIEWER)
@describes({200: ReportResponse})
def show(report_id: int) -> Response:
    """Write one report."""
    return _answer(report_id)


@blueprint.get("/<int:report_id>/download")
@requires(Role.VIEWER)
@describes({200: dict[str, Any]}, files=("text/html", "text/csv"))
def download(report_id: int) -> Response:
    """Send the file of a report."""
    report, path = service.find_file(db.session, report_id, folder=current_settings().reports_dir)
    return stored_file_answer(path, filename=service.filename_of(report))


@blueprint.delete("/<int:report_id>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=ReportRemovalQuery)
def delete(report_id: int) -> Response:
    """Delete a report with its file; why stands in the body or the query."""
    service.remove_report(
        db.session,
        report_id,
        folder=current_settings().reports_dir,
        by=actor(),
        now=now(),
        reason=read_removal().reason,
    )
    db.session.commit()
    return Response(status=204)


def _answer(report_id: int, status: int = 200) -> Response:
    report = service.find_report(db.session, report_id)
    return json_answer(report_as_json(view_report(db.session, report)), status)

"""The pages of reports: the list with its downloads, and the form that asks for one."""

from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.channels.service import channel_names
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.reports import service
from webapp.reports.forms import FORMATS, KINDS, ReportForm
from webapp.reports.queries import list_reports
from webapp.reports.values import ReportKind
from webapp.roles import Role
from webapp.sources.service import source_names
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.downloads import stored_file_answer
from webapp.web.htmx import go_to, refused_status, render
from webapp.web.requests import current_settings

blueprint = Blueprint("reports", __name__, url_prefix="/reports")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the reports."""
    kind = request.args.get("kind", "")
    kind = kind if kind in set(ReportKind) else ""
    page = list_reports(db.session, read_cursor(), kind=kind)
    return render(
        "reports/index.html",
        "reports/_table.html",
        reports=page,
        kind=kind,
        kinds=[(item.value, item.value.capitalize()) for item in ReportKind],
        keeps_days=current_settings().report_retention_days,
        **neighbours(page),
    )


@blueprint.get("/new")
@requires(Role.OPERATOR)
def new() -> Response:
    """Show the form that asks for a report."""
    return _form_page(ReportForm(source=request.args.get("source", "")))


@blueprint.post("")
@requires(Role.OPERATOR)
def create() -> BaseResponse:
    """Ask for the report that was chosen."""
    form = ReportForm.read(request.form, request.form.getlist("channels"))
    try:
        report = service.request_report(db.session, form.draft(), by=actor(), now=now())
        number = report.id
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        return _form_page(replace(form, errors=error.errors), status=refused_status(error))
    return go_to(url_for("reports.index"), f"Report {number} is being written.")


@blueprint.get("/<int:report_id>/download")
@requires(Role.VIEWER)
def download(report_id: int) -> Response:
    """Send the file of a report."""
    report, path = service.find_file(db.session, report_id, folder=current_settings().reports_dir)
    return stored_file_answer(path, filename=service.filename_of(report))


@blueprint.post("/<int:report_id>/remove")
@requires(Role.ADMIN)
def remove(report_id: int) -> BaseResponse:
    """Delete a report for good."""
    asked = asking(
        f"Delete report {report_id}?",
        "Its file is deleted with it; one that is not written yet is canceled.",
        "Delete report",
    )
    return act(
        asked,
        f"Report {report_id} is deleted.",
        url=url_for("reports.index"),
        verb=lambda by, at: service.remove_report(
            db.session,
            report_id,
            folder=current_settings().reports_dir,
            by=by,
            now=at,
            reason=asked.reason,
        ),
    )


def _form_page(form: ReportForm, *, status: int = 200) -> Response:
    return render(
        "reports/new.html",
        "reports/_form.html",
        status=status,
        form=form,
        kinds=KINDS,
        formats=FORMATS,
        sources=[("", "Choose one"), *((name, name) for name in source_names(db.session))],
        channels=channel_names(db.session),
    )

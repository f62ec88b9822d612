"""How the whole stands, for programs: what the Overview says, and how much there is.

Both are asked at addresses that monitors know, and below the prefix of the API.
"""

from flask import Blueprint, Response

from webapp.clock import now
from webapp.db import db
from webapp.health.service import read_health
from webapp.overview.responses import JobHealthResponse, TotalsResponse
from webapp.overview.schemas import health_as_json, totals_as_json
from webapp.overview.totals import read_totals
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.requests import current_settings

blueprint = Blueprint("overview_api", __name__)


@blueprint.get("/api/admin/job-health")
@blueprint.get("/api/v1/admin/job-health")
@requires(Role.VIEWER)
@describes({200: JobHealthResponse})
def job_health() -> Response:
    """Say how the whole stands, and how each type of job does.

    The answer is 200 also where that is badly: ``overall_health`` is the verdict.
    """
    moment = now()
    report = read_health(db.session, now=moment, has_workers=current_settings().has_workers)
    return _uncached(health_as_json(report, now=moment))


@blueprint.get("/stats")
@blueprint.get("/api/v1/stats")
@requires(Role.VIEWER)
@describes({200: TotalsResponse})
def stats() -> Response:
    """Say how much there is of each kind."""
    return _uncached(totals_as_json(read_totals(db.session, now=now())))


def _uncached(body: dict[str, object]) -> Response:
    answer = json_answer(body)
    answer.headers["Cache-Control"] = "no-store"
    return answer

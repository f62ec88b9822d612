"""One thing done to many jobs, over JSON: by ids or by a filter, counted first where asked."""

from flask import Blueprint, Response, url_for

from webapp.clock import now
from webapp.db import db
from webapp.errors import Forbidden
from webapp.jobs.bulk import BulkAction, samples, survey
from webapp.jobs.orders import give
from webapp.jobs.responses import BulkDoneResponse, BulkTakenResponse, SurveyResponse
from webapp.jobs.schemas import BulkRequest, refusal_as_json, survey_as_json
from webapp.roles import Role
from webapp.web.access import actor, may, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.schemas import read_json

blueprint = Blueprint("jobs_bulk_api", __name__, url_prefix="/api/v1/queue")

SAMPLES = 10


@blueprint.post("/bulk")
@requires(Role.OPERATOR)
@describes(
    {200: SurveyResponse | BulkDoneResponse, 202: BulkTakenResponse},
    body=BulkRequest,
    example={"action": "retry", "filter": {"state": "dead"}, "dry_run": True},
)
def bulk() -> Response:
    """Retry, run, cancel or reprioritize; what is much is done by a job: 202 with its address."""
    body = read_json(BulkRequest)
    order = body.order()
    if order.action == BulkAction.CANCEL and not may(Role.ADMIN):
        raise Forbidden("To cancel jobs needs the role admin.")
    if body.dry_run:
        found = survey(db.session, order)
        return json_answer(survey_as_json(found, samples(db.session, order, SAMPLES)))
    given = give(db.session, order, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    if given.job_id is not None:
        answer = json_answer({"dry_run": False, "job_id": given.job_id}, 202)
        answer.headers["Location"] = url_for("jobs_api.show", job_id=given.job_id)
        return answer
    refusals = [refusal_as_json(item) for item in given.refusals]
    return json_answer({"dry_run": False, "done": given.done, "refused": refusals})

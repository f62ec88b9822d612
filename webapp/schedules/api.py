"""Schedules over JSON: the same services as the pages, for programs.

Beside them stands what else is to run later: jobs whose time is still ahead.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, Invalid
from webapp.jobs.service import cancel, find_job, find_scheduled
from webapp.jobs.values import JobState
from webapp.logs import masked
from webapp.paging import COUNT_CAP
from webapp.roles import Role
from webapp.schedules import firing, service
from webapp.schedules.queries import (
    ScheduleFilters,
    firings_of,
    list_schedules,
    scheduler_figures,
    view_schedule,
)
from webapp.schedules.responses import (
    ScheduleDetailsResponse,
    ScheduledResponse,
    ScheduleRemovalQuery,
    ScheduleResponse,
    SchedulerResponse,
    SchedulesQuery,
)
from webapp.schedules.schemas import (
    CLEANUP,
    CleanupSchedule,
    NewSchedule,
    Reasoned,
    ScheduleUpdate,
    firing_as_json,
    schedule_as_json,
)
from webapp.schedules.values import ScheduleState
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import read_search
from webapp.web.openapi import Collection, WindowQuery, describes
from webapp.web.requests import makes
from webapp.web.schemas import Removal, read_json, read_removal, read_window
from webapp.workers.service import last_beat

blueprint = Blueprint("schedules_api", __name__, url_prefix="/api/v1/queue")

FIRINGS = 20


@blueprint.get("/schedules")
@requires(Role.VIEWER)
@describes({200: Collection[ScheduleResponse]}, query=SchedulesQuery)
def index() -> Response:
    """List schedules by name."""
    state = request.args.get("state", "")
    if state and state not in set(ScheduleState):
        raise Invalid.field("state", f"One of {', '.join(ScheduleState)}.")
    filters = ScheduleFilters(read_search(), state)
    skip, limit = read_window()
    found = list_schedules(db.session, filters, now=now(), skip=skip, limit=limit)
    return json_answer(
        {"items": [schedule_as_json(view) for view in found.rows], "total": found.total}
    )


@blueprint.post("/schedules")
@requires(Role.ADMIN)
@describes(
    {201: ScheduleResponse},
    body=NewSchedule,
    example={
        "name": "nightly",
        "type": "etl",
        "arguments": {"source": "airports"},
        "daily": {"at": "03:30"},
        "reason": "Fresh data each morning",
    },
)
@makes
def create() -> Response:
    """Make a schedule."""
    body = read_json(NewSchedule)
    schedule = service.create_schedule(
        db.session, body.draft(), by=actor(), now=now(), reason=body.reason
    )
    db.session.commit()
    response = _answer(schedule.name, 201)
    response.headers["Location"] = url_for("schedules_api.show", name=schedule.name)
    return response


@blueprint.post("/schedule/cleanup")
@requires(Role.ADMIN)
@describes({200: ScheduleResponse, 201: ScheduleResponse}, body=CleanupSchedule)
def schedule_cleanup() -> Response:
    """Make the daily clean-up: 201, or 200 with the schedule that stands, as it stands."""
    body = read_json(CleanupSchedule)
    try:
        schedule = service.create_schedule(
            db.session, body.draft(), by=actor(), now=now(), reason=body.reason
        )
    except Conflict:
        return _answer(CLEANUP)
    db.session.commit()
    response = _answer(schedule.name, 201)
    response.headers["Location"] = url_for("schedules_api.show", name=schedule.name)
    return response


@blueprint.get("/schedules/<name>")
@requires(Role.VIEWER)
@describes({200: ScheduleDetailsResponse})
def show(name: str) -> Response:
    """Write one schedule with its newest firings."""
    schedule = service.find_schedule(db.session, name)
    firings = firings_of(db.session, schedule, FIRINGS)
    body = schedule_as_json(view_schedule(db.session, schedule, now=now()))
    return json_answer(body | {"firings": [firing_as_json(item) for item in firings]})


@blueprint.put("/schedules/<name>")
@requires(Role.ADMIN)
@describes({200: ScheduleResponse}, body=ScheduleUpdate)
def update(name: str) -> Response:
    """Change the fields given."""
    body = read_json(ScheduleUpdate)
    schedule = service.find_schedule(db.session, name)
    service.change_schedule(
        db.session,
        replace(service.draft_of(schedule), **body.given()),
        by=actor(),
        now=now(),
        reason=body.reason,
        version=body.version or schedule.version,
    )
    db.session.commit()
    return _answer(name)


@blueprint.delete("/schedules/<name>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=ScheduleRemovalQuery)
def delete(name: str) -> Response:
    """Remove a schedule; why stands in the body or the query."""
    wanted = read_removal()
    service.remove_schedule(
        db.session, name, by=actor(), now=now(), reason=wanted.reason, version=wanted.version
    )
    db.session.commit()
    return Response(status=204)


@blueprint.post("/schedules/<name>/run")
@requires(Role.OPERATOR)
@describes({202: ScheduleResponse})
@makes
def run(name: str) -> Response:
    """Run a schedule now: 202 with the address of its job."""
    job_id = firing.run_schedule(db.session, name, by=actor(), now=now()).job_id
    db.session.commit()
    response = _answer(name, 202)
    response.headers["Location"] = url_for("jobs_api.show", job_id=job_id)
    return response


@blueprint.post("/schedules/<name>/pause")
@requires(Role.ADMIN)
@describes({200: ScheduleResponse}, body=Reasoned)
def pause(name: str) -> Response:
    """Stop a schedule from firing."""
    return _switch(name, service.pause_schedule)


@blueprint.post("/schedules/<name>/resume")
@requires(Role.ADMIN)
@describes({200: ScheduleResponse}, body=Reasoned)
def resume(name: str) -> Response:
    """Let a schedule fire again."""
    return _switch(name, service.resume_schedule)


@blueprint.get("/scheduled")
@requires(Role.VIEWER)
@describes({200: ScheduledResponse}, query=WindowQuery)
def scheduled() -> Response:
    """List what is to run later: jobs by their time, and schedules by name."""
    skip, limit = read_window()
    jobs, total = find_scheduled(db.session, skip=skip, limit=limit)
    found = list_schedules(db.session, ScheduleFilters(), now=now(), skip=skip, limit=limit)
    return json_answer(
        {
            "jobs": {
                "items": [
                    {
                        "id": job.id,
                        "type": job.type,
                        "priority": job.priority,
                        "arguments": masked(job.arguments),
                        "run_at": job.run_at,
                        "created_at": job.created_at,
                        "created_by": job.created_by,
                    }
                    for job in jobs
                ],
                "total": min(total, COUNT_CAP),
                "capped": total > COUNT_CAP,
            },
            "schedules": {
                "items": [schedule_as_json(view) for view in found.rows],
                "total": found.total,
            },
        }
    )


@blueprint.delete("/scheduled/<int:job_id>")
@requires(Role.ADMIN)
@describes({204: None})
def cancel_scheduled(job_id: int) -> Response:
    """Cancel a job whose time is still ahead; 409 where it has come."""
    state = find_job(db.session, job_id).state
    if state != JobState.SCHEDULED:
        raise Conflict(f"Job {job_id} is {state}: its time is no longer ahead.")
    cancel(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    return Response(status=204)


@blueprint.get("/scheduler/status")
@requires(Role.VIEWER)
@describes({200: SchedulerResponse})
def status() -> Response:
    """Write how long ago a worker showed life, what is due, and what was missed in 24 hours."""
    at = now()
    beat_at = last_beat(db.session)
    figures = scheduler_figures(db.session, now=at)
    return json_answer(
        {
            "beat_at": beat_at,
            "beat_age_seconds": max(0.0, (at - beat_at).total_seconds()) if beat_at else None,
            "due": figures.due,
            "oldest_due_at": figures.oldest_due_at,
            "last_24_hours": {
                "fired": figures.fired,
                "skipped": figures.skipped,
                "missed": figures.missed,
                "refused": figures.refused,
            },
        }
    )


def _switch(name: str, verb: Callable[..., Any]) -> Response:
    body = read_json(Reasoned)
    verb(db.session, name, by=actor(), now=now(), reason=body.reason, version=body.version)
    db.session.commit()
    return _answer(name)


def _answer(name: str, status: int = 200) -> Response:
    schedule = service.find_schedule(db.session, name)
    view = view_schedule(db.session, schedule, now=now())
    return json_answer(schedule_as_json(view), status)

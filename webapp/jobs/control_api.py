"""Queues and types of job over JSON: what there is, pauses, policies."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from webapp.clock import now
from webapp.db import db
from webapp.jobs import control
from webapp.jobs.registry import JobType, find_job_type, job_types
from webapp.jobs.responses import JobQueueResponse, JobTypeResponse, JobTypesResponse
from webapp.jobs.schemas import PolicyBody, pause_as_json, type_as_json
from webapp.jobs.steering import Steering, read_steering
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.schemas import Reasoned, read_json

blueprint = Blueprint("jobs_control_api", __name__, url_prefix="/api/v1/queue")


@blueprint.get("/job-types")
@requires(Role.VIEWER)
@describes({200: JobTypesResponse})
def types() -> Response:
    """List every type with its schema and policy."""
    settings, steering = control.find_settings(db.session), read_steering(db.session)
    items = [
        type_as_json(kind, steering.applied_to(kind), settings.get(kind.name))
        for kind in job_types()
    ]
    return json_answer({"items": items})


@blueprint.get("/job-types/<name>")
@requires(Role.VIEWER)
@describes({200: JobTypeResponse})
def show_type(name: str) -> Response:
    """Write one type."""
    return _type(find_job_type(name), read_steering(db.session))


@blueprint.put("/job-types/<name>/policy")
@requires(Role.ADMIN)
@describes({200: JobTypeResponse}, body=PolicyBody)
def set_policy(name: str) -> Response:
    """Set how often and how soon a type is tried again; what is absent is as the type says."""
    body = read_json(PolicyBody)
    kind = find_job_type(name)
    control.set_policy(
        db.session,
        name,
        body.draft(),
        version=body.version,
        by=actor(),
        now=now(),
        reason=body.reason,
    )
    db.session.commit()
    return _type(kind, read_steering(db.session))


@blueprint.post("/job-types/<name>/pause")
@requires(Role.OPERATOR)
@describes({200: JobTypeResponse}, body=Reasoned)
def pause_type(name: str) -> Response:
    """Let no job of a type begin."""
    kind = find_job_type(name)
    _act(control.pause_type, name, reason=read_json(Reasoned).reason)
    return _type(kind, read_steering(db.session))


@blueprint.post("/job-types/<name>/resume")
@requires(Role.OPERATOR)
@describes({200: JobTypeResponse})
def resume_type(name: str) -> Response:
    """Let the jobs of a type begin again."""
    kind = find_job_type(name)
    _act(control.resume_type, name)
    return _type(kind, read_steering(db.session))


@blueprint.post("/queues/<name>/pause")
@requires(Role.OPERATOR)
@describes({200: JobQueueResponse}, body=Reasoned)
def pause_queue(name: str) -> Response:
    """Let no job of a queue begin."""
    _act(control.pause_queue, name, reason=read_json(Reasoned).reason)
    return _queue(name)


@blueprint.post("/queues/<name>/resume")
@requires(Role.OPERATOR)
@describes({200: JobQueueResponse})
def resume_queue(name: str) -> Response:
    """Let the jobs of a queue begin again."""
    _act(control.resume_queue, name)
    return _queue(name)


def _act(verb: Callable[..., object], name: str, **options: Any) -> None:
    verb(db.session, name, by=actor(), now=now(), **options)
    db.session.commit()


def _type(kind: JobType, steering: Steering) -> Response:
    setting = control.find_setting(db.session, kind.name)
    return json_answer(type_as_json(kind, steering.applied_to(kind), setting))


def _queue(name: str) -> Response:
    paused = control.find_paused_queues(db.session).get(name)
    return json_answer({"name": name, "paused": pause_as_json(paused)})

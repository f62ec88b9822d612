"""Workers for programs: who is alive and what each runs, and the wish that one stops."""

from datetime import datetime
from typing import Any

from flask import Blueprint, Response

from webapp.clock import now
from webapp.db import db
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import Answer, describes
from webapp.workers import service
from webapp.workers.queries import WorkerRow, find_row, list_workers


class WorkerResponse(Answer):
    """A consumer process, and what it runs."""

    name: str
    host: str
    pid: int
    kind: str
    processes: int
    queues: list[str] | None
    scheduler: bool
    version: str
    state: str
    started_at: datetime
    beat_at: datetime
    stopped_at: datetime | None
    stop_requested_at: datetime | None
    stop_requested_by: str | None
    running_jobs: list[int]
    done: int
    failed: int
    memory_bytes: int | None


class WorkersResponse(Answer):
    """The workers of the last day."""

    items: list[WorkerResponse]


blueprint = Blueprint("workers_api", __name__, url_prefix="/api/v1/queue/workers")


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: WorkersResponse})
def index() -> Response:
    """List the consumer processes of the last day, those that beat last first."""
    rows = list_workers(db.session, now=now())
    return json_answer({"items": [_as_json(row) for row in rows]})


@blueprint.post("/<name>/stop")
@requires(Role.OPERATOR)
@describes({202: WorkerResponse})
def stop(name: str) -> Response:
    """Ask a worker to end once its running jobs have: 202, for it looks within ten seconds."""
    moment = now()
    service.request_stop(db.session, name, by=actor(), now=moment)
    db.session.commit()
    return json_answer(_as_json(find_row(db.session, name, now=moment)), 202)


def _as_json(row: WorkerRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "host": row.host,
        "pid": row.pid,
        "kind": row.kind,
        "processes": row.processes,
        "queues": row.queues,
        "scheduler": row.scheduler,
        "version": row.version,
        "state": row.state,
        "started_at": row.started_at,
        "beat_at": row.beat_at,
        "stopped_at": row.stopped_at,
        "stop_requested_at": row.stop_requested_at,
        "stop_requested_by": row.stop_requested_by,
        "running_jobs": row.running,
        "done": row.done,
        "failed": row.failed,
        "memory_bytes": row.memory_bytes,
    }

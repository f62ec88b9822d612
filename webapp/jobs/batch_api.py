"""Batches of jobs over JSON."""

from flask import Blueprint, Response, url_for
from pydantic import Field

from webapp.clock import now
from webapp.db import db
from webapp.jobs import batching
from webapp.jobs.responses import BatchesQuery, BatchesResponse, BatchResponse
from webapp.jobs.schemas import Arguments, batch_as_json
from webapp.jobs.wishes import JobOptions, Wish
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.openapi import describes
from webapp.web.requests import accepts, makes
from webapp.web.schemas import Moment, Schema, Text, read_json

blueprint = Blueprint("batches_api", __name__, url_prefix="/api/v1/queue/batches")

MOST_BYTES = 8 * 1024 * 1024


class BatchedJob(Schema):
    """One job of a batch; its arguments are checked by its type's own schema."""

    type: Text
    arguments: Arguments = Field(default_factory=dict)
    queue: Text | None = None
    priority: int | None = None
    run_at: Moment | None = None
    delay: float | None = None
    expires_at: Moment | None = None
    callback_url: Text | None = None

    def wish(self) -> Wish:
        """Return the job that is wanted."""
        options = self.model_dump(exclude={"type", "arguments"}, exclude_none=True)
        return Wish(self.type, self.arguments, JobOptions(**options))  # type: ignore[typeddict-item]


class FollowingJob(Schema):
    """The job that is to run once all others have ended."""

    type: Text
    arguments: Arguments = Field(default_factory=dict)


class NewBatch(Schema):
    """The body of ``POST /queue/batches``."""

    name: Text
    jobs: list[BatchedJob] = Field(max_length=batching.MAX_JOBS)
    then: FollowingJob | None = None


@blueprint.post("")
@requires(Role.OPERATOR)
@describes(
    {202: BatchResponse},
    body=NewBatch,
    example={"name": "nightly", "jobs": [{"type": "etl", "arguments": {"source": "airports"}}]},
)
@accepts(MOST_BYTES)
@makes
def create() -> Response:
    """Take jobs together, all or none: 202 with the address of the batch."""
    body = read_json(NewBatch)
    batch = batching.enqueue_batch(
        db.session,
        body.name,
        [item.wish() for item in body.jobs],
        then=Wish(body.then.type, body.then.arguments) if body.then else None,
        by=actor(),
        now=now(),
    )
    db.session.commit()
    answer = json_answer(batch_as_json(batching.find_batch(db.session, batch.id)), 202)
    answer.headers["Location"] = url_for("batches_api.show", batch_id=batch.id)
    return answer


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: BatchesResponse}, query=BatchesQuery)
def index() -> Response:
    """List batches, newest first; ``next`` is the address of the older ones."""
    page = batching.list_batches(db.session, read_cursor())
    items = [batch_as_json(row) for row in page.rows]
    return json_answer({"items": items, "next": neighbours(page)["next_url"]})


@blueprint.get("/<int:batch_id>")
@requires(Role.VIEWER)
@describes({200: BatchResponse})
def show(batch_id: int) -> Response:
    """Return one batch, with its jobs counted by state."""
    return json_answer(batch_as_json(batching.find_batch(db.session, batch_id)))

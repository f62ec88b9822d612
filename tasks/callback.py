"""The ``callback`` job: tells an address of the end of one job, in a signed message."""

import json

from flask import Flask
from pydantic import Field

from tasks.signed_messages import LIMIT_SECONDS, post_signed
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import callbacks
from webapp.jobs.callbacks import JobEnd, anything_to_tell, find_end
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.values import JobContext, RetryPolicy
from webapp.logs import get_logger
from webapp.moments import rfc3339

log = get_logger(__name__)

SIX_HOURS = 21_600.0


def tell_ends(app: Flask) -> None:
    """Enqueue a callback for each job that has ended and is to be told of."""
    del app
    with reading() as session:
        if not anything_to_tell(session):
            return
    with transaction() as session:
        told = callbacks.tell_ends(session, now=now())
    log.info("callbacks_enqueued", jobs=len(told))


class CallbackArguments(JobArguments):
    """Whose end is told, and what names the message in every try."""

    job_id: int = Field(description="The job that has ended")
    delivery_id: str = Field(min_length=1, max_length=64, description="Names the message")


@job(
    callbacks.TYPE,
    CallbackArguments,
    # 5 s, 20 s, 80 s and so on, for about 13 hours.
    policy=RetryPolicy(max_retries=8, initial_delay=5, backoff_factor=4, max_delay=SIX_HOURS),
    timeout=LIMIT_SECONDS,
    # By hand nobody is to have anything said in our name.
    internal=True,
)
def tell(context: JobContext, arguments: CallbackArguments) -> Result:
    """Tell an address of the end of a job."""
    with reading() as session:
        end = find_end(session, arguments.job_id, callback_job_id=context.claim.job_id)
    if end is None:
        context.log("callback_overtaken", about=arguments.job_id)
        return {"told": False, "reason": f"Job {arguments.job_id} was retried since."}
    body = message_of(end)
    answer = post_signed(callbacks.TYPE, end.url, arguments.delivery_id, body)
    return {"told": True, "status": answer.status_code}


def message_of(end: JobEnd) -> bytes:
    """Return the body: the same bytes in every try."""
    finished_at = rfc3339(end.finished_at)
    message = {
        "type": f"job.{end.state}",
        "timestamp": finished_at,
        "data": {
            "id": end.job_id,
            "type": end.type,
            "state": end.state,
            "attempts": end.attempts,
            "result": end.result,
            "error": end.error,
            "finished_at": finished_at,
        },
    }
    return json.dumps(message, separators=(",", ":")).encode()

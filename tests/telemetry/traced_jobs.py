"""A job type that a traced deployment runs: it calls out, and fails at its first attempt."""

import httpx
from sqlalchemy import select

from webapp.db import reading
from webapp.guards import guard
from webapp.jobs.models import Job
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.values import JobContext, RetryPolicy


class CallArguments(JobArguments):
    """Whom it calls, and what must be told to nobody else."""

    url: str
    password: str


@job("test_call", CallArguments, policy=RetryPolicy(max_retries=1, initial_delay=0.01, jitter=0.0))
def call(context: JobContext, arguments: CallArguments) -> Result:
    """Call, and fail at the first attempt with words that nobody should have chosen."""
    url = f"{arguments.url}?api_key={arguments.password}"
    context.log("calling", url=url, password=arguments.password)
    with reading() as session:
        session.scalar(select(Job.id).where(Job.id == context.claim.job_id))
    hook = url.replace("?", f"hook/{arguments.password}?")
    response = guard("traced").get(hook, headers={"Authorization": f"Bearer {arguments.password}"})
    if context.claim.attempt == 1:
        raise httpx.ReadError(f"no end of {url}, sent password='{arguments.password}'")
    return {"status": response.status_code, "token": arguments.password}

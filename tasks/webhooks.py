"""The ``webhook_delivery`` job: a signed JSON payload to an address, for a program of its own."""

import json
from typing import Any

from pydantic import Field, field_validator

from tasks.signed_messages import LIMIT_SECONDS, post_signed
from webapp.errors import Invalid
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.values import JobContext, RetryPolicy
from webapp.outbound.addresses import MAX_URL, check_url
from webapp.outbound.clients import allowed_hosts

TYPE = "webhook_delivery"


class WebhookArguments(JobArguments):
    """What is sent, and where to."""

    url: str = Field(min_length=1, max_length=MAX_URL, description="Where it is posted to")
    payload: dict[str, Any] = Field(description="The body, a JSON object")
    delivery_id: str = Field(
        default="",
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Names the message in every try; without it, one made of the job's number",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            check_url(url, field="url", allowed=allowed_hosts())
        except Invalid as error:
            raise ValueError(error.errors["url"][0]) from None
        return url


@job(
    TYPE,
    WebhookArguments,
    policy=RetryPolicy(max_retries=5, initial_delay=30, backoff_factor=2.0),
    timeout=LIMIT_SECONDS,
)
def deliver(context: JobContext, arguments: WebhookArguments) -> Result:
    """Post a signed JSON payload to an address."""
    delivery_id = arguments.delivery_id or f"msg_job_{context.claim.job_id}"
    body = json.dumps(arguments.payload, separators=(",", ":"), ensure_ascii=False)
    answer = post_signed(
        "webhook", arguments.url, delivery_id, body.encode("utf-8", "backslashreplace")
    )
    return {"status": answer.status_code, "delivery_id": delivery_id}

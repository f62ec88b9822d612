"""The ``notification`` job: one message to one channel."""

from flask import current_app
from pydantic import Field, field_validator

from webapp.channels.sending import send
from webapp.channels.service import open_channel
from webapp.channels.values import (
    JOB_TYPE,
    MAX_BODY,
    MAX_KEY,
    MAX_LINK,
    MAX_NAME,
    MAX_TITLE,
    Message,
    MessageKind,
)
from webapp.db import reading, storable
from webapp.errors import Invalid
from webapp.guards import guard
from webapp.jobs.registry import JobArguments, Result, job
from webapp.jobs.values import JobContext, RetryPolicy
from webapp.settings import Settings

LIMIT_SECONDS = 60.0


class NotificationArguments(JobArguments):
    """What is said, and to whom."""

    channel: str = Field(min_length=1, max_length=MAX_NAME, description="Name of the channel")
    title: str = Field(min_length=1, max_length=MAX_TITLE, description="The message's first line")
    body: str = Field(min_length=1, max_length=MAX_BODY, description="The message")
    kind: MessageKind = Field(default=MessageKind.INFO, description="What it is about")
    link: str = Field(default="", max_length=MAX_LINK, description="Where people read on")
    key: str = Field(default="", max_length=MAX_KEY, description="The incident that it is of")
    test: bool = Field(default=False, description="Goes also where the channel is switched off")

    @field_validator("link")
    @classmethod
    def _check_link(cls, link: str) -> str:
        if link and not link.startswith(("https://", "http://")):
            message = "must begin with https:// or http://"
            raise ValueError(message)
        return link


@job(
    JOB_TYPE,
    NotificationArguments,
    policy=RetryPolicy(max_retries=5, initial_delay=60, backoff_factor=1.5),
    timeout=LIMIT_SECONDS,
)
def tell_channel(context: JobContext, arguments: NotificationArguments) -> Result:
    """Send one message to one channel."""
    settings: Settings = current_app.extensions["settings"]
    with reading() as session:
        channel = open_channel(session, arguments.channel, secret_key=settings.secret_key)
    if not channel.enabled and not arguments.test:
        context.log("channel_is_off", channel=channel.name)
        return {"sent": False, "reason": f"The channel {channel.name} is switched off."}
    if channel.url is None:
        raise Invalid(
            f"The address of the channel {channel.name} cannot be read, since SECRET_KEY has "
            "changed; type it anew on the page Channels."
        )
    message = Message(
        title=storable(arguments.title),
        body=storable(arguments.body),
        kind=arguments.kind,
        link=storable(arguments.link),
        key=storable(arguments.key),
    )
    guard(f"channel:{channel.name}").call(send, channel.url, message)
    return {"sent": True}

"""What the JSON API of channels answers with, by type; an address stands in none of it."""

from datetime import datetime

from webapp.web.openapi import Answer, Query


class ChannelResponse(Answer):
    """A channel; ``place`` is what may be shown of its address, ``state`` on, off or unreadable."""

    name: str
    kind: str
    place: str
    enabled: bool
    state: str
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class TestSentResponse(Answer):
    """The job that sends a test message."""

    job_id: int


class ChannelsQuery(Query):
    """What names, services and places are searched for."""

    q: str


class ChannelRemovalQuery(Query):
    """Why a channel is removed, where no body says it."""

    reason: str
    version: int

"""Channels over JSON: the same services as the pages, for programs."""

from flask import Blueprint, Response, url_for

from webapp.channels import service
from webapp.channels.queries import list_channels, view_channel
from webapp.channels.responses import (
    ChannelRemovalQuery,
    ChannelResponse,
    ChannelsQuery,
    TestSentResponse,
)
from webapp.channels.schemas import ChannelUpdate, NewChannel, channel_as_json
from webapp.channels.values import ChannelDraft
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import read_search
from webapp.web.openapi import Collection, describes
from webapp.web.requests import current_settings, makes
from webapp.web.schemas import Removal, read_json, read_removal

blueprint = Blueprint("channels_api", __name__, url_prefix="/api/v1/channels")


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Collection[ChannelResponse]}, query=ChannelsQuery)
def index() -> Response:
    """List channels by name."""
    found = list_channels(db.session, secret_key=current_settings().secret_key, text=read_search())
    return json_answer({"items": [channel_as_json(view) for view in found], "total": len(found)})


@blueprint.post("")
@requires(Role.ADMIN)
@describes(
    {201: ChannelResponse},
    body=NewChannel,
    example={"name": "on-call", "url": "jsons://hooks.example.com/alerts", "reason": "New rota"},
)
@makes
def create() -> Response:
    """Make a channel."""
    body = read_json(NewChannel)
    service.create_channel(
        db.session,
        ChannelDraft(name=body.name, url=body.url, enabled=body.enabled),
        secret_key=current_settings().secret_key,
        by=actor(),
        now=now(),
        reason=body.reason,
    )
    db.session.commit()
    response = _answer(body.name, 201)
    response.headers["Location"] = url_for("channels_api.show", name=body.name)
    return response


@blueprint.get("/<name>")
@requires(Role.VIEWER)
@describes({200: ChannelResponse})
def show(name: str) -> Response:
    """Write one channel."""
    return _answer(name)


@blueprint.patch("/<name>")
@requires(Role.ADMIN)
@describes({200: ChannelResponse}, body=ChannelUpdate)
def update(name: str) -> Response:
    """Change the fields given."""
    body = read_json(ChannelUpdate)
    if body.url == "":
        raise Invalid.field("url", "Give the address as Apprise writes it, or leave it out.")
    channel = service.find_channel(db.session, name)
    enabled = channel.enabled if body.enabled is None else body.enabled
    service.change_channel(
        db.session,
        ChannelDraft(name=name, url=body.url or "", enabled=enabled),
        secret_key=current_settings().secret_key,
        by=actor(),
        now=now(),
        reason=body.reason,
        # Without one, that which the fields left out were read from.
        version=body.version or channel.version,
    )
    db.session.commit()
    return _answer(name)


@blueprint.delete("/<name>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=ChannelRemovalQuery)
def delete(name: str) -> Response:
    """Remove a channel; why stands in the body or the query."""
    wanted = read_removal()
    service.remove_channel(
        db.session, name, by=actor(), now=now(), reason=wanted.reason, version=wanted.version
    )
    db.session.commit()
    return Response(status=204)


@blueprint.post("/<name>/test")
@requires(Role.OPERATOR)
@describes({202: TestSentResponse})
@makes
def test(name: str) -> Response:
    """Send a test message: 202 with the address of its job."""
    job_id = service.send_test(db.session, name, by=actor(), now=now())
    db.session.commit()
    response = json_answer({"job_id": job_id}, 202)
    response.headers["Location"] = url_for("jobs_api.show", job_id=job_id)
    return response


def _answer(name: str, status: int = 200) -> Response:
    channel = service.find_channel(db.session, name)
    view = view_channel(channel, secret_key=current_settings().secret_key)
    return json_answer(channel_as_json(view), status)

"""Channels as JSON: the bodies that are read, and the answers, which never hold an address."""

from typing import Any

from webapp.channels.queries import ChannelView
from webapp.web.schemas import ReasonText, Schema, Text


class NewChannel(Schema):
    """The body that makes a channel."""

    name: Text
    url: Text
    enabled: bool = True
    reason: ReasonText = ""


class ChannelUpdate(Schema):
    """The body that changes the fields given."""

    url: Text | None = None
    enabled: bool | None = None
    reason: ReasonText = ""
    version: int | None = None


def channel_as_json(view: ChannelView) -> dict[str, Any]:
    """Write a channel."""
    return {
        "name": view.name,
        "kind": view.kind,
        "place": view.place,
        "enabled": view.enabled,
        "state": view.state,
        "version": view.version,
        "created_at": view.created_at,
        "created_by": view.created_by,
        "updated_at": view.updated_at,
        "updated_by": view.updated_by,
    }

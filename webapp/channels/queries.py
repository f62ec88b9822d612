"""What pages and programs are shown of channels: never their addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.channels.models import Channel
from webapp.channels.sealing import unseal
from webapp.db import DbSession

#: More channels than anybody can keep in mind.
MOST = 500


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel; ``state`` is on, off or unreadable."""

    name: str
    kind: str
    place: str
    enabled: bool
    readable: bool
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str

    @property
    def state(self) -> str:
        """Return how it stands; an address that cannot be read is what matters most."""
        if not self.readable:
            return "unreadable"
        return "on" if self.enabled else "off"


def list_channels(session: DbSession, *, secret_key: str, text: str = "") -> list[ChannelView]:
    """Return the channels by name whose name, kind or place holds a text: one statement."""
    rows = session.scalars(select(Channel).order_by(Channel.name).limit(MOST))
    views = [view_channel(row, secret_key=secret_key) for row in rows]
    return [view for view in views if _holds(view, text.casefold())]


def view_channel(channel: Channel, *, secret_key: str) -> ChannelView:
    """Return what is shown of a channel."""
    return ChannelView(
        name=channel.name,
        kind=channel.kind,
        place=channel.place,
        enabled=channel.enabled,
        readable=unseal(secret_key, channel.sealed_url) is not None,
        version=channel.version,
        created_at=channel.created_at,
        created_by=channel.created_by,
        updated_at=channel.updated_at,
        updated_by=channel.updated_by,
    )


def _holds(view: ChannelView, text: str) -> bool:
    shown: Sequence[str] = (view.name, view.kind, view.place)
    return any(text in word.casefold() for word in shown)

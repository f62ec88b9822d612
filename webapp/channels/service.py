"""Writes channels, each change audited without its address, and turns messages into jobs.

Sends nothing: a job does, one for each channel, so that a dead channel delays no other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.channels.models import Channel
from webapp.channels.sealing import seal, unseal
from webapp.channels.sending import inspect
from webapp.channels.values import (
    INCIDENT_SERVICES,
    JOB_TYPE,
    MAX_NAME,
    ChannelDraft,
    Message,
    Place,
)
from webapp.db import DbSession
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.service import enqueue
from webapp.reasons import checked_reason, complaint_about_reason
from webapp.versions import FIRST_VERSION, refuse_outdated, remove_version, write_version

NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}\Z")
# The page that adds one has this place in the URL.
RESERVED_NAMES = frozenset({"new"})
# What the audit tells of an address.
_WITHHELD = "(withheld)"
_ANOTHER = "(another, withheld)"


@dataclass(frozen=True, slots=True)
class OpenChannel:
    """A channel as a sender needs it; ``url`` is None where SECRET_KEY is another by now."""

    name: str
    enabled: bool
    url: str | None


def create_channel(
    session: DbSession,
    draft: ChannelDraft,
    *,
    secret_key: str,
    by: Actor,
    now: datetime,
    reason: str,
) -> Channel:
    """Add a channel; :class:`Invalid` names every field that breaks a rule."""
    place = _checked(draft, reason=reason, new=True)
    assert place is not None  # a new one has an address  # noqa: S101
    channel = Channel(
        name=draft.name,
        kind=place.kind,
        place=place.shown,
        sealed_url=seal(secret_key, draft.url),
        enabled=draft.enabled,
        version=FIRST_VERSION,
        created_at=now,
        created_by=by.name,
        updated_at=now,
        updated_by=by.name,
    )
    try:
        # The unique name settles the race between two who add the same channel.
        with session.begin_nested():
            session.add(channel)
    except IntegrityError:
        raise Conflict(f"There is a channel {draft.name!r} already.") from None
    changes = {
        "kind": Change(None, place.kind),
        "place": Change(None, place.shown),
        "enabled": Change(None, draft.enabled),
    }
    _audit(session, draft.name, "channel.created", by=by, now=now, reason=reason, changes=changes)
    return channel


def change_channel(  # noqa: PLR0913 - all but the first two are named at the call
    session: DbSession,
    draft: ChannelDraft,
    *,
    secret_key: str,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> Channel:
    """Make the channel of that name what the draft says; the same again changes nothing.

    ``version`` is the one that the change was made from: :class:`Conflict` where it has passed.
    """
    channel = _channel_to_change(session, draft.name, version)
    place = _checked(draft, reason=reason, new=False)
    if unseal(secret_key, channel.sealed_url) == draft.url:
        place = None
    changes = _changes(channel, draft, place)
    if not changes:
        return channel
    values: dict[str, object] = {"enabled": draft.enabled}
    if place is not None:
        sealed = seal(secret_key, draft.url)
        values |= {"kind": place.kind, "place": place.shown, "sealed_url": sealed}
    write_version(session, channel, values, by=by, now=now)
    _audit(session, draft.name, "channel.updated", by=by, now=now, reason=reason, changes=changes)
    return channel


def _changes(channel: Channel, draft: ChannelDraft, place: Place | None) -> dict[str, Change]:
    """Return what a draft changes; ``place`` is that of another address than the one that stands.

    Of the address itself no more is told than that it is another.
    """
    shown = {"enabled": Change(channel.enabled, draft.enabled)}
    if place is not None:
        shown["kind"] = Change(channel.kind, place.kind)
        shown["place"] = Change(channel.place, place.shown)
    changes = {field: change for field, change in shown.items() if change.old != change.new}
    return changes | ({"address": Change(_WITHHELD, _ANOTHER)} if place is not None else {})


def remove_channel(
    session: DbSession,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int | None = None,
) -> None:
    """Remove a channel with its address; messages that wait for it become dead letters."""
    channel = _channel_to_change(session, name, version)
    reason = checked_reason(reason)
    remove_version(session, channel)
    changes = {"kind": Change(channel.kind, None), "place": Change(channel.place, None)}
    _audit(session, name, "channel.removed", by=by, now=now, reason=reason, changes=changes)


def notify(
    session: DbSession,
    channels: Sequence[str],
    message: Message,
    *,
    by: Actor,
    now: datetime,
) -> list[int]:
    """Enqueue one job for each of the channels, each once; those that are switched off get none.

    Returns the ids of the jobs; :class:`Invalid` names ``channels`` where there is none of a name.
    """
    wanted = check_channels(session, channels)
    return [
        enqueue(session, JOB_TYPE, _arguments(name, message), by=by, now=now).id
        for name, enabled in wanted.items()
        if enabled
    ]


def send_test(session: DbSession, name: str, *, by: Actor, now: datetime) -> int:
    """Enqueue a test, also where the channel is switched off; return the id of its job."""
    channel = find_channel(session, name)
    message = Message(
        title=f"Test of the channel {channel.name}",
        body=f"{by.name} sent this from Switchyard. There is nothing to do.",
    )
    arguments = _arguments(channel.name, message) | {"test": True}
    return enqueue(session, JOB_TYPE, arguments, by=by, now=now).id


def check_channels(session: DbSession, names: Sequence[str]) -> dict[str, bool]:
    """Return of each channel whether it is switched on; :class:`Invalid` where there is none."""
    known = channels_of(session, names)
    missing = [name for name in dict.fromkeys(names) if name not in known]
    if missing:
        raise Invalid.field("channels", f"There is no channel {', '.join(map(repr, missing))}.")
    return known


def channels_of(session: DbSession, names: Sequence[str]) -> dict[str, bool]:
    """Return of the channels that there are whether each is switched on, in the order given."""
    rows = session.execute(select(Channel.name, Channel.enabled).where(Channel.name.in_(names)))
    known = {row.name: row.enabled for row in rows}
    return {name: known[name] for name in names if name in known}


def incident_channels(session: DbSession, names: Sequence[str]) -> set[str]:
    """Return those of these channels whose service keeps an incident for each key."""
    rows = session.execute(select(Channel.name, Channel.place).where(Channel.name.in_(names)))
    return {row.name for row in rows if row.place.partition("://")[0] in INCIDENT_SERVICES}


def channel_names(session: DbSession) -> list[str]:
    """Return the names of the channels that are switched on."""
    wanted = select(Channel.name).where(Channel.enabled).order_by(Channel.name)
    return list(session.scalars(wanted))


def find_channel(session: DbSession, name: str) -> Channel:
    """Return one channel; :class:`NotFound` where there is none of that name."""
    wanted = select(Channel).where(Channel.name == name)
    channel = session.scalar(wanted.execution_options(populate_existing=True))
    if channel is None:
        raise NotFound(f"There is no channel {name!r}.")
    return channel


def open_channel(session: DbSession, name: str, *, secret_key: str) -> OpenChannel:
    """Return a channel with its address, for whoever sends."""
    channel = find_channel(session, name)
    return OpenChannel(channel.name, channel.enabled, unseal(secret_key, channel.sealed_url))


def _arguments(name: str, message: Message) -> dict[str, object]:
    return {
        "channel": name,
        "title": message.title,
        "body": message.body,
        "kind": message.kind.value,
        "link": message.link,
        **({"key": message.key} if message.key else {}),
    }


def _checked(draft: ChannelDraft, *, reason: str, new: bool) -> Place | None:
    """Return what may be shown of the draft's address, None where the old one is to stay."""
    errors: dict[str, Sequence[str]] = {}
    place = None
    if new and (not NAME.match(draft.name) or draft.name in RESERVED_NAMES):
        wanted = f"1 to {MAX_NAME} small letters, digits, dots, dashes and underscores"
        errors["name"] = [f"Use {wanted}, but not just 'new'."]
    if draft.url:
        try:
            place = inspect(draft.url)
        except Invalid as error:
            errors |= error.errors
    elif new:
        errors["url"] = ["Give the address as Apprise writes it."]
    if message := complaint_about_reason(reason):
        errors["reason"] = [message]
    if errors:
        field, messages = next(iter(errors.items()))
        raise Invalid(f"{field}: {messages[0]}", errors)
    return place


def _channel_to_change(session: DbSession, name: str, version: int | None) -> Channel:
    channel = find_channel(session, name)
    refuse_outdated(channel, version)
    return channel


def _audit(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    name: str,
    action: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    changes: Mapping[str, Change],
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="channel",
        name=name,
        reason=reason,
        changes=changes,
    )

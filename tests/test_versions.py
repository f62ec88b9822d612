"""Versions: of two who change what both have read one wins, and the other changes nothing."""

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from webapp.actors import COMMAND
from webapp.channels.models import Channel
from webapp.channels.service import find_channel
from webapp.errors import Conflict
from webapp.flags.models import FlagSegment
from webapp.versions import (
    NextVersion,
    refuse_outdated,
    remove_version,
    write_version,
    write_versions,
)


@pytest.fixture
def channel(session: Session, now: datetime) -> Channel:
    channel = Channel(
        name="on-call", kind="JSON", place="json://…", sealed_url="", enabled=True, version=1,
        created_at=now, created_by="a", updated_at=now, updated_by="a",
    )  # fmt: skip
    session.add(channel)
    session.flush()
    return channel


def write(session: Session, channel: Channel, now: datetime) -> None:
    write_version(session, channel, {"enabled": False}, by=COMMAND, now=now)


def remove(session: Session, channel: Channel, now: datetime) -> None:
    del now
    remove_version(session, channel)


BOTH = pytest.mark.parametrize("change", [write, remove])
Verb = Callable[[Session, Channel, datetime], None]


def overtake(session: Session) -> None:
    """Change the row as another would: the session does not hear of it."""
    session.execute(
        update(Channel)
        .values(version=2, place="other")
        .execution_options(synchronize_session=False)
    )


def test_a_change_is_the_next_version_by_whom_and_when(
    session: Session, channel: Channel, now: datetime
) -> None:
    write(session, channel, now)
    assert (channel.version, channel.enabled, channel.updated_by) == (2, False, COMMAND.name)


def test_only_the_row_itself_is_written(session: Session, now: datetime) -> None:
    for name in ("a", "b"):
        session.add(
            FlagSegment(name=name, description="", conditions=[], version=1, created_at=now,
                        created_by="a", updated_at=now, updated_by="a")
        )  # fmt: skip
    session.flush()
    one, other = session.get_one(FlagSegment, "a"), session.get_one(FlagSegment, "b")
    write_version(session, one, {"description": "new"}, by=COMMAND, now=now)
    session.refresh(other)
    assert (one.description, other.description, other.version) == ("new", "", 1)
    remove_version(session, one)
    assert session.get(FlagSegment, "b", populate_existing=True) is other
    assert session.get(FlagSegment, "a") is None


@BOTH
def test_who_was_overtaken_changes_nothing_and_is_told_both_versions(
    session: Session, channel: Channel, now: datetime, change: Verb
) -> None:
    overtake(session)
    with pytest.raises(Conflict, match="from version 1, it is at version 2"):
        change(session, channel, now)
    found = find_channel(session, "on-call")
    assert (found.version, found.place, found.enabled) == (2, "other", True)


@BOTH
def test_what_was_removed_meanwhile_is_told(
    session: Session, channel: Channel, now: datetime, change: Verb
) -> None:
    session.execute(delete(Channel).execution_options(synchronize_session=False))
    with pytest.raises(Conflict, match="on-call was removed meanwhile"):
        change(session, channel, now)


def test_a_version_that_has_passed_is_refused_and_none_is_whichever_stands(
    channel: Channel,
) -> None:
    refuse_outdated(channel, 1)
    refuse_outdated(channel, None)
    for version in (0, 2, -1):
        with pytest.raises(Conflict, match=f"from version {version}, it is at version 1"):
            refuse_outdated(channel, version)


def test_rows_are_written_together_and_a_conflict_says_that_one_was_overtaken(
    session: Session, channel: Channel, now: datetime
) -> None:
    after = [NextVersion(channel.id, 1, 3, {"enabled": False})]
    write_versions(session, Channel, after, by=COMMAND, now=now)
    assert (channel.version, channel.enabled, channel.updated_by) == (3, False, COMMAND.name)
    with pytest.raises(Conflict, match="changed meanwhile"):
        write_versions(session, Channel, after, by=COMMAND, now=now)

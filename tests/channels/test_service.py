"""Channels: made, changed and removed once, audited without their address, told one job each."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.conftest import SECRET
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.channels import service
from webapp.channels.models import Channel
from webapp.channels.queries import list_channels, view_channel
from webapp.channels.values import ChannelDraft, Message, MessageKind
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.models import Job

URL = "jsons://ada:hunter2@hooks.example.com/hush"
OTHER = "jsons://ada:hunter3@hooks.example.com/hush"


def create(
    session: Session,
    now: datetime,
    name: str = "on-call",
    *,
    url: str = URL,
    enabled: bool = True,
    reason: str = "Needed",
) -> Channel:
    return service.create_channel(
        session,
        ChannelDraft(name=name, url=url, enabled=enabled),
        secret_key=SECRET,
        by=COMMAND,
        now=now,
        reason=reason,
    )


def change(session: Session, now: datetime, **fields: Any) -> Channel:
    version = fields.pop("version", None)
    reason = fields.pop("reason", "Needed")
    draft = ChannelDraft(**({"name": "on-call"} | fields))
    return service.change_channel(
        session,
        draft,
        secret_key=SECRET,
        by=COMMAND,
        now=now,
        reason=reason,
        version=version,
    )


def test_a_channel_keeps_its_address_secret(session: Session, now: datetime) -> None:
    channel = create(session, now)
    assert (channel.kind, channel.place) == ("JSON", "jsons://hooks.example.com")
    assert "hooks" not in channel.sealed_url
    opened = service.open_channel(session, "on-call", secret_key=SECRET)
    assert (opened.url, opened.enabled) == (URL, True)


def test_the_audit_never_has_the_address(session: Session, now: datetime) -> None:
    create(session, now)
    change(session, now, url=OTHER)
    service.remove_channel(session, "on-call", by=COMMAND, now=now, reason="Gone")
    entries = history(session, "channel", "on-call")
    assert [entry.action for entry in entries] == [
        "channel.removed",
        "channel.updated",
        "channel.created",
    ]
    told = repr(entries)
    assert not any(secret in told for secret in ("hunter2", "hunter3", "hush"))
    assert entries[1].changes[0].field == "address"


def test_under_another_secret_key_it_is_unreadable_until_its_address_is_typed_anew(
    session: Session, now: datetime
) -> None:
    create(session, now)
    other = "x" * 40
    channel = service.find_channel(session, "on-call")
    assert view_channel(channel, secret_key=SECRET).state == "on"
    assert view_channel(channel, secret_key=other).state == "unreadable"
    assert service.open_channel(session, "on-call", secret_key=other).url is None
    service.change_channel(
        session,
        ChannelDraft(name="on-call", url=URL),
        secret_key=other,
        by=COMMAND,
        now=now,
        reason="New key",
    )
    assert service.open_channel(session, "on-call", secret_key=other).url == URL


@pytest.mark.parametrize("name", ["", "new", "Capitals", "a b", "a/b", "ä", "-a", "a" * 65, "a\n"])
def test_names_are_small_and_plain(session: Session, now: datetime, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        create(session, now, name)
    assert "name" in refused.value.errors


def test_all_that_is_wrong_is_said_at_once(session: Session, now: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        create(session, now, "", url="nonsense", reason=" ")
    assert set(refused.value.errors) == {"name", "url", "reason"}


def test_a_name_is_given_once(session: Session, now: datetime) -> None:
    create(session, now)
    with pytest.raises(Conflict):
        create(session, now)
    assert len(session.scalars(select(Channel)).all()) == 1


@pytest.mark.parametrize("fields", [{}, {"url": URL}])
def test_the_same_again_changes_nothing(
    session: Session, now: datetime, fields: dict[str, str]
) -> None:
    create(session, now)
    assert change(session, now, **fields).version == 1
    assert len(history(session, "channel", "on-call")) == 1


def test_a_change_without_an_address_keeps_the_one_that_stands(
    session: Session, now: datetime
) -> None:
    create(session, now)
    assert change(session, now, enabled=False).version == 2
    opened = service.open_channel(session, "on-call", secret_key=SECRET)
    assert (opened.url, opened.enabled) == (URL, False)


@pytest.mark.parametrize(
    "write",
    [
        lambda session, now: change(session, now, enabled=False, version=1),
        lambda session, now: service.remove_channel(
            session, "on-call", by=COMMAND, now=now, reason="Gone", version=1
        ),
    ],
    ids=["change", "removal"],
)
def test_who_began_from_an_older_version_changes_nothing(
    session: Session, now: datetime, write: Callable[[Session, datetime], object]
) -> None:
    create(session, now)
    change(session, now, url=OTHER)
    with pytest.raises(Conflict):
        write(session, now)
    assert service.find_channel(session, "on-call").version == 2


def test_a_message_becomes_one_job_for_each_channel_that_is_on(
    session: Session, now: datetime
) -> None:
    for name, enabled in (("a", True), ("b", False), ("c", True)):
        create(session, now, name, enabled=enabled)
    message = Message(
        title="T", body="B", kind=MessageKind.ERROR, link="https://console.example.com/jobs/1"
    )
    ids = service.notify(session, ["c", "a", "b", "c"], message, by=COMMAND, now=now)
    jobs = [session.get_one(Job, job_id) for job_id in ids]
    assert [job.arguments["channel"] for job in jobs] == ["c", "a"]
    assert {job.type for job in jobs} == {"notification"}
    assert jobs[0].arguments["kind"] == "error"


def test_a_message_to_an_unknown_channel_goes_nowhere(session: Session, now: datetime) -> None:
    create(session, now, "a")
    with pytest.raises(Invalid) as refused:
        service.notify(session, ["a", "b"], Message(title="T", body="B"), by=COMMAND, now=now)
    assert "'b'" in refused.value.detail
    assert session.scalars(select(Job)).all() == []


def test_a_removed_channel_is_gone(session: Session, now: datetime) -> None:
    create(session, now)
    service.remove_channel(session, "on-call", by=COMMAND, now=now, reason="Gone")
    with pytest.raises(NotFound):
        service.find_channel(session, "on-call")


def test_a_removal_wants_a_reason(session: Session, now: datetime) -> None:
    create(session, now)
    with pytest.raises(Invalid):
        service.remove_channel(session, "on-call", by=COMMAND, now=now, reason="")


def test_a_search_looks_into_what_is_shown_only(session: Session, now: datetime) -> None:
    create(session, now, "on-call")
    create(session, now, "chat", url="slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    found = {
        text: [view.name for view in list_channels(session, secret_key=SECRET, text=text)]
        for text in ("", "CALL", "slack", "example", "hush", "T1JJ3T3L2")
    }
    assert found == {
        "": ["chat", "on-call"],
        "CALL": ["on-call"],
        "slack": ["chat"],
        "example": ["on-call"],
        "hush": [],
        "T1JJ3T3L2": [],
    }

"""The ``notification`` job against real receivers: what arrives, and what becomes of the rest."""

import json
from dataclasses import replace
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from typing import Any

import pytest
from flask import Flask

from tasks.work import run
from tests.conftest import SECRET
from tests.http_server import OK, Server, answer
from tests.receivers import Mailbox
from webapp.actors import COMMAND, SYSTEM
from webapp.breakers.registry import breaker
from webapp.channels.service import change_channel, create_channel, notify, remove_channel
from webapp.channels.values import ChannelDraft, Message, MessageKind
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.outbound.clients import allow_hosts, allowed_hosts

LINK = "https://console.example.com/jobs/7"
HELLO = Message(title="Job 7 is dead", body="Host <b>a</b> & ü", kind=MessageKind.ERROR, link=LINK)


pytestmark = pytest.mark.usefixtures("in_app")


def make_channel(name: str, url: str, *, enabled: bool = True) -> None:
    with transaction() as session:
        create_channel(
            session,
            ChannelDraft(name=name, url=url, enabled=enabled),
            secret_key=SECRET,
            by=COMMAND,
            now=now(),
            reason="Needed",
        )


def send(app: Flask, *channels: str, message: Message = HELLO) -> list[Job]:
    with transaction() as session:
        ids = notify(session, channels, message, by=SYSTEM, now=now())
    return [attempt(app, job_id) for job_id in ids]


def attempt(app: Flask, job_id: int) -> Job:
    assert run(app, job_id, worker="w", early=True)
    return found(job_id)


def found(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def body_of(server: Server) -> Any:
    (request,) = server.received
    return json.loads(request.body)


def test_a_plain_hook_gets_the_message_as_json(app: Flask, receiver: Server) -> None:
    make_channel("hook", f"json://127.0.0.1:{receiver.port}/alerts?+X-Team=ops")
    (job,) = send(app, "hook")
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"sent": True}), job.error
    (request,) = receiver.received
    assert request.line == "POST /alerts HTTP/1.1"
    assert request.headers["x-team"] == "ops"
    body = body_of(receiver)
    assert body["title"] == HELLO.title
    assert body["message"] == f"{HELLO.body}\n\n{LINK}"
    assert body["type"] == "failure"


def test_slack_gets_what_its_web_hook_takes(
    app: Flask, receiver: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.slack import NotifySlack  # noqa: PLC0415 - loaded where it is needed

    monkeypatch.setattr(NotifySlack, "webhook_url", receiver.url + "services")
    receiver.answers = [answer("200 OK", body=b"ok")]
    make_channel("chat", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts")
    (job,) = send(app, "chat")
    assert job.state == JobState.SUCCEEDED, job.error
    path = "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert receiver.received[0].line == f"POST {path} HTTP/1.1"
    told = json.dumps(body_of(receiver), ensure_ascii=False)
    assert HELLO.title in told
    assert LINK in told
    assert "#alerts" in told


@pytest.mark.parametrize(("options", "key"), [("", "breaker_open:billing"), ("?dedup=own", "own")])
def test_pagerduty_opens_and_closes_the_incident_of_a_key(
    app: Flask, receiver: Server, monkeypatch: pytest.MonkeyPatch, options: str, key: str
) -> None:
    from apprise.plugins import pagerduty  # noqa: PLC0415 - loaded where it is needed

    region = pagerduty.PagerDutyRegion.US
    monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, region, receiver.url + "v2/enqueue")
    receiver.answers = [answer("202 Accepted")]
    make_channel("pager", f"pagerduty://INTKEY0123456789@APIKEY0123456789{options}")
    for kind in (MessageKind.ERROR, MessageKind.SUCCESS):
        told = replace(HELLO, kind=kind, key="breaker_open:billing")
        (job,) = send(app, "pager", message=told)
        assert job.state == JobState.SUCCEEDED, job.error
    events = [json.loads(request.body) for request in receiver.received]
    assert [event["dedup_key"] for event in events] == [key] * 2
    actions = [event["event_action"] for event in events]
    assert actions == ["trigger", "trigger" if options else "resolve"]


def test_pagerduty_gets_an_event_of_the_right_severity(
    app: Flask, receiver: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins import pagerduty  # noqa: PLC0415 - loaded where it is needed

    region = pagerduty.PagerDutyRegion.US
    monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, region, receiver.url + "v2/enqueue")
    receiver.answers = [answer("202 Accepted", body=b"{}")]
    make_channel("pager", "pagerduty://INTKEY0123456789@APIKEY0123456789")
    (job,) = send(app, "pager")
    assert job.state == JobState.SUCCEEDED, job.error
    body = body_of(receiver)
    assert body["event_action"] == "trigger"
    assert body["routing_key"] == "INTKEY0123456789"
    assert body["payload"]["severity"] == "critical"
    assert HELLO.title in body["payload"]["summary"]


def test_a_mailbox_gets_a_mail(app: Flask, mailbox: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{mailbox.port}?smtp=127.0.0.1&from=console@example.com"
    make_channel("mail", f"{url}&to=ada@example.com&mode=insecure&format=text")
    (job,) = send(app, "mail")
    assert job.state == JobState.SUCCEEDED, job.error
    (envelope,) = mailbox.envelopes
    assert envelope.rcpt_tos == ["ada@example.com"]
    assert isinstance(envelope.content, bytes)
    mail: Mail = message_from_bytes(envelope.content, policy=default)
    assert mail["Subject"] == HELLO.title
    assert mail["To"] == "ada@example.com"
    assert "console@example.com" in mail["From"]
    text = envelope_text(mail)
    assert HELLO.body in text
    assert LINK in text


def envelope_text(mail: Mail) -> str:
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    return "".join(part.decode() for part in parts if isinstance(part, bytes))


def test_a_channel_that_is_dead_delays_no_other(app: Flask, receiver: Server) -> None:
    away = Server()
    away.close()
    allow_hosts([*allowed_hosts(), f"127.0.0.1:{away.port}"])
    make_channel("dead", f"json://127.0.0.1:{away.port}/")
    make_channel("hook", f"json://127.0.0.1:{receiver.port}/")
    dead, good = send(app, "dead", "hook")
    assert good.state == JobState.SUCCEEDED
    assert dead.state == JobState.RETRYING
    assert len(receiver.received) == 1


def test_what_fails_is_tried_again_by_the_ledger_alone(app: Flask, receiver: Server) -> None:
    receiver.answers = [answer("503 Unavailable"), OK]
    make_channel("hook", f"json://127.0.0.1:{receiver.port}/?retry=3&wait=0")
    (first,) = send(app, "hook")
    assert (first.state, first.attempts) == (JobState.RETRYING, 1)
    assert len(receiver.received) == 1
    assert attempt(app, first.id).state == JobState.SUCCEEDED
    assert len(receiver.received) == 2


def test_a_channel_in_trouble_opens_its_own_breaker(app: Flask, receiver: Server) -> None:
    receiver.answers = [answer("503 Unavailable")]
    make_channel("hook", f"json://127.0.0.1:{receiver.port}/")
    for _ in range(5):
        send(app, "hook")
    assert breaker("channel:hook").current_state == "open"
    (waiting,) = send(app, "hook")
    assert (waiting.attempts, waiting.deferrals) == (0, 1)


def test_nothing_of_the_address_stands_in_a_failure(app: Flask, receiver: Server) -> None:
    receiver.answers = [answer("404 Not Found")]
    make_channel("hook", f"json://ada:hunter2@127.0.0.1:{receiver.port}/hush")
    (job,) = send(app, "hook")
    assert job.state == JobState.DEAD
    with reading() as session:
        (tried,) = service.attempts_of(session, job.id, limit=5)
    told = f"{job.error} {tried.message} {tried.traceback}"
    assert "404" in told
    assert not any(secret in told for secret in ("hush", "hunter2"))


def test_a_channel_that_is_off_gets_nothing_but_a_test(app: Flask, receiver: Server) -> None:
    from webapp.channels.service import send_test  # noqa: PLC0415 - would be taken for a test

    url = f"json://127.0.0.1:{receiver.port}/"
    make_channel("hook", url)
    with transaction() as session:
        (waiting,) = notify(session, ["hook"], HELLO, by=SYSTEM, now=now())
        change_channel(
            session,
            ChannelDraft(name="hook", enabled=False),
            secret_key=SECRET,
            by=COMMAND,
            now=now(),
            reason="Quiet",
        )
        test_id = send_test(session, "hook", by=COMMAND, now=now())
    late = attempt(app, waiting)
    assert late.state == JobState.SUCCEEDED
    assert late.result is not None
    assert late.result["sent"] is False
    assert receiver.received == []
    assert attempt(app, test_id).result == {"sent": True}
    assert body_of(receiver)["title"] == "Test of the channel hook"


def test_a_message_to_a_channel_that_was_removed_is_a_dead_letter(
    app: Flask, receiver: Server
) -> None:
    make_channel("hook", f"json://127.0.0.1:{receiver.port}/")
    with transaction() as session:
        (waiting,) = notify(session, ["hook"], HELLO, by=SYSTEM, now=now())
        remove_channel(session, "hook", by=COMMAND, now=now(), reason="Gone")
    job = attempt(app, waiting)
    assert job.state == JobState.DEAD
    assert "There is no channel 'hook'" in (job.error or "")


def test_an_address_of_another_secret_key_is_a_dead_letter_that_says_so(
    app: Flask, receiver: Server
) -> None:
    with transaction() as session:
        create_channel(
            session,
            ChannelDraft(name="hook", url=f"json://127.0.0.1:{receiver.port}/"),
            secret_key="y" * 40,
            by=COMMAND,
            now=now(),
            reason="Needed",
        )
    (job,) = send(app, "hook")
    assert job.state == JobState.DEAD
    assert "SECRET_KEY" in (job.error or "")

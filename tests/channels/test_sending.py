"""What Apprise makes of an address, what of it may be shown, and what is refused."""

import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import apprise
import pytest

from tests.http_server import Server, answer, reset_connection
from tests.outbound.net import Net
from webapp.channels.sending import NotSent, Refused, inspect, send
from webapp.channels.values import Message, MessageKind, Place
from webapp.errors import Invalid
from webapp.outbound.clients import allow_hosts, allowed_hosts
from webapp.outbound.values import AddressRefused
from webapp.retries.classification import classify
from webapp.retries.values import ErrorClass

NOSTR_KEY = "a" * 64
HELLO = Message(title="Hello", body="There")
SECRETS = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ", "hunter2", "KEY")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
            Place("Slack", "slack://…"),
        ),
        (
            "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            Place("Slack", "https://hooks.slack.com"),
        ),
        ("pagerduty://INTKEY0123456789@APIKEY0123456789", Place("Pager Duty", "pagerduty://…")),
        ("jsons://ada:hunter2@hooks.example.com/KEY?+X-Key=KEY", Place("JSON", "jsons://hooks")),
        ("mailtos://ada:hunter2@example.com?smtp=mail.example.org", Place("E-Mail", "mailtos://")),
    ],
)
def test_of_an_address_no_more_than_scheme_and_host_is_shown(url: str, place: Place) -> None:
    found = inspect(url)
    assert found.kind == place.kind
    assert found.shown.startswith(place.shown)
    assert not any(secret in found.shown for secret in SECRETS)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "https://example.com/hook",
        "json://",
        "json://exa mple.com",
        "json://example.com/\n",
        "json://example.com/ü",
        "nobody://example.com",
        "syslog://",
        "SYSLOG://",
        "dbus://",
        "blink1://",
        "mqtt://example.com/topic",
        "xmpps://ada:hunter2@example.com",
        "file:///etc/passwd",
        "json://" + "a" * 2000,
        "\0",
    ],
)
def test_what_no_message_could_go_to_is_refused_at_its_field(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        inspect(url)
    assert list(refused.value.errors) == ["url"]


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/hook",
        "json://localhost/hook",
        "json://10.0.0.7:8080/hook",
        "json://2130706433/hook",
        "json://169.254.169.254/latest/meta-data",
        "mailto://ada@example.com?smtp=127.0.0.1",
        "gotify://192.168.0.1/token",
        "ntfy://127.0.0.1/topic",
    ],
)
def test_an_address_inside_is_refused_when_it_is_typed_and_when_it_is_called(url: str) -> None:
    with pytest.raises(AddressRefused):
        inspect(url)
    with pytest.raises(AddressRefused):
        send(url, HELLO)


@pytest.fixture
def inside(nothing_allowed: None) -> Iterator[Server]:
    """A server on this machine that nobody has allowed."""
    del nothing_allowed
    server = Server()
    yield server
    server.close()


def test_a_host_that_an_option_names_is_not_reached(inside: Server) -> None:
    with pytest.raises(AddressRefused, match="loopback"):
        send(f"nostr://{NOSTR_KEY}/?relay=ws://127.0.0.1:{inside.port}", HELLO)
    assert inside.received == []


@pytest.mark.parametrize("file", ["http://127.0.0.1:{port}/key", "/etc/passwd"])
@pytest.mark.parametrize(
    "url",
    [
        "fcm://project/device?keyfile={file}",
        "vapid://ada@example.com?keyfile={file}",
        "vapid://ada@example.com?subfile={file}",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?template={file}",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts?template={file}",
        "tgram://123456789:abcdefg_hijklmnop/12315544/?template={file}",
        "workflows://example.com:443/643a8bb8/aBc-_1?template={file}",
        "mailto://ada:hunter2@example.com?pgp=sign&pgppub={file}",
        "mailto://ada:hunter2@example.com?pgp=sign&pgpprv={file}",
    ],
)
def test_an_address_that_has_a_file_read_is_refused(inside: Server, url: str, file: str) -> None:
    full = url.format(file=file.format(port=inside.port))
    for act in (inspect, partial(send, message=HELLO)):
        with pytest.raises(Invalid, match="may not name a file"):
            act(full)
    assert inside.received == []


def test_a_template_that_the_service_keeps_is_no_file() -> None:
    url = "sendgrid://abcd123-xyz:ada@example.com/bob@example.org?template=d-1234"
    assert inspect(url).kind == "SendGrid"


def test_nothing_in_apprise_reads_files_or_begins_threads_but_what_is_known() -> None:
    """Where this fails after an upgrade, look at what the new places read, and whom they call."""
    folder = Path(apprise.__file__).parent
    reads = re.compile(r"AppriseAttachment\(asset|threading\.Thread\(|loop_start\(")
    found = {
        str(path.relative_to(folder))
        for part in ("plugins", "utils")
        for path in (folder / part).rglob("*.py")
        if reads.search(path.read_text())
    }
    assert found == {
        *(f"plugins/{name}.py" for name in ("discord", "fcm/__init__", "slack", "telegram")),
        "plugins/workflows.py",
        "plugins/vapid/subscription.py",
        "utils/pem.py",  # for vapid
        "utils/pgp.py",  # for e-mail
        # Their schemes are refused.
        "plugins/mqtt.py",
        "plugins/xmpp/adapter.py",
        # It cuts off the download of an attachment, of which we have none.
        "utils/http.py",
    }


def test_a_name_that_points_inside_is_refused_when_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = Net()
    net.names["hooks.example.com"] = [["10.0.0.7"]]
    monkeypatch.setattr(socket, "getaddrinfo", net.getaddrinfo)
    assert inspect("json://hooks.example.com/").shown == "json://hooks.example.com"
    with pytest.raises(AddressRefused):
        send("json://hooks.example.com/", HELLO)


def test_a_host_is_allowed_for_its_port_only() -> None:
    before = allowed_hosts()
    allow_hosts(["127.0.0.1:9000"])
    try:
        assert inspect("json://127.0.0.1:9000/hook").shown == "json://127.0.0.1"
        with pytest.raises(AddressRefused):
            inspect("json://127.0.0.1:9001/hook")
    finally:
        allow_hosts(before)


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        ("500 Error", ErrorClass.SERVER_ERROR),
        ("503 Unavailable", ErrorClass.SERVER_ERROR),
        ("429 Slow down", ErrorClass.RATE_LIMITED),
        ("401 Who", ErrorClass.UNAUTHORIZED),
        ("404 Not Found", ErrorClass.NOT_FOUND),
        ("400 Bad", ErrorClass.BAD_REQUEST),
    ],
)
def test_a_refusal_is_classified_by_its_status_and_hides_the_address(
    receiver: Server, status: str, error_class: ErrorClass
) -> None:
    receiver.answers = [answer(status)]
    with pytest.raises(Refused) as refused:
        send(f"json://127.0.0.1:{receiver.port}/hush", HELLO)
    assert classify(refused.value).error_class == error_class
    assert "hush" not in str(refused.value)
    assert len(receiver.received) == 1


def test_a_service_that_is_away_may_be_back_later(receiver: Server) -> None:
    receiver.answers = [reset_connection]
    with pytest.raises(NotSent, match="JSON could not be reached") as refused:
        send(f"json://127.0.0.1:{receiver.port}/hush", HELLO)
    assert classify(refused.value).error_class == ErrorClass.NETWORK


def test_what_the_address_asks_of_apprise_does_not_undo_our_bounds(receiver: Server) -> None:
    receiver.answers = [answer("302 Found", f"Location: {receiver.url}other")]
    url = f"json://127.0.0.1:{receiver.port}/hook?retry=5&wait=0&redirect=yes"
    with pytest.raises(Refused):
        send(url, HELLO)
    assert [request.line for request in receiver.received] == ["POST /hook HTTP/1.1"]


@pytest.mark.parametrize("kind", list(MessageKind))
def test_every_kind_of_message_is_taken(receiver: Server, kind: MessageKind) -> None:
    send(f"json://127.0.0.1:{receiver.port}/", Message(title="T", body="B", kind=kind))
    assert len(receiver.received) == 1

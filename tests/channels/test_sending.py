"""What Apprise makes of an address, what of it may be shown, and what is refused."""

import socket

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
    with pytest.raises(NotSent) as refused:
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

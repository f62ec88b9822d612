"""The one module that knows Apprise: what an address is, and one message on its way.

Apprise is loaded where it is first needed, which in the web process is the form of a channel and in
a worker the first message: nobody else waits for it.  It tells no reason of a failure but by its
log, so what it logs about this message is read, and goes no further: an address may stand in it.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from webapp.channels.values import INCIDENT_SERVICES, MAX_URL, Message, MessageKind, Place
from webapp.errors import Invalid, Unavailable
from webapp.outbound.addresses import is_allowed, unfit_host
from webapp.outbound.clients import allowed_hosts
from webapp.outbound.confinement import confined
from webapp.outbound.values import AddressRefused

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
# They speak to the machine that a worker runs on, which is nobody's channel.
_LOCAL: Final = frozenset(
    {"blink1", "dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"}
)
# They call from threads of their own, where nobody would judge whom.
_UNBOUND: Final = frozenset({"mqtt", "mqtts", "xmpp", "xmpps"})
# Under these names Apprise's objects keep the path or URL of a file that they read.
_FILES: Final = ("keyfile", "subfile", "template", "pgp_key", "pgp_privkey")
# In others what stands in the place of the host is often a key.
_SHOW_HOST: Final = frozenset(
    {"form", "forms", "json", "jsons", "mailto", "mailtos", "xml", "xmls"}
)
# Addresses as a service itself gives them out, which Apprise takes apart.
_NATIVE: Final = frozenset({"http", "https"})
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE | re.ASCII)
_PLAIN: Final = re.compile(r"[!-~]+")
_STATUS: Final = re.compile(r"\berror[=:]\s*([1-5][0-9]{2})\b")
# The words of all services for a connection that failed: no name, no way, no answer.
_AWAY: Final = re.compile(r"connection error", re.IGNORECASE)
_TYPES: Final = {
    MessageKind.INFO: "info",
    MessageKind.SUCCESS: "success",
    MessageKind.WARNING: "warning",
    MessageKind.ERROR: "failure",
}


class NotSent(Unavailable):
    """The service did not take the message, and gave no status; it may the next time."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status_code: int


class Refused(Exception):
    """The service answered with a status that is no success, by which the error is classified."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.response = _Answer(status)


def inspect(url: str) -> Place:
    """Return what may be shown of an address; :class:`Invalid` where no message could go there.

    Where its name points is asked when a message is sent.
    """
    if len(url) > MAX_URL or not _PLAIN.fullmatch(url):
        raise Invalid.field("url", f"Use at most {MAX_URL:,} plain characters without spaces.")
    service = _service_at(url)
    for host, port in _hosts_of(service):
        if not _trusted(host, port) and (kind := unfit_host(host)):
            raise AddressRefused.field("url", f"{host} is no place to call: {kind}.")
    scheme = _scheme_of(url)
    host = str(service.host or "") if scheme in _SHOW_HOST else ""
    if scheme in _NATIVE:
        host = urlsplit(url).hostname or ""
    return Place(str(service.service_name), f"{scheme}://{host or '…'}"[:300])


def send(url: str, message: Message) -> None:
    """Send one message, once; :class:`Refused` or :class:`NotSent` where it was not taken."""
    service = _service_at(url)
    _name_incident(service, url, message)
    body = f"{message.body}\n\n{message.link}" if message.link else message.body
    with confined(_trusted) as bounds, _told() as told:
        sent = service.notify(body=body, title=message.title, notify_type=_TYPES[message.kind])
    if not sent:
        raise bounds.refused or _failure(str(service.service_name), told)


def _name_incident(service: Any, url: str, message: Message) -> None:
    """Have a service that keeps incidents know which one this is about, and when it is over.

    What the address itself says of it stays.
    """
    place = INCIDENT_SERVICES.get(_scheme_of(url))
    if place is None or not message.key or getattr(service, place, None):
        return
    setattr(service, place, message.key)
    service.action = "map"


def _service_at(url: str) -> Any:
    """Return Apprise's object for an address, bound by our rules whatever the address asks for."""
    scheme = _scheme_of(url)
    if scheme in _LOCAL:
        raise Invalid.field("url", f"{scheme}:// speaks to the machine itself, and to nobody else.")
    if scheme in _UNBOUND:
        raise Invalid.field("url", f"{scheme}:// is no channel: where it calls cannot be bounded.")
    service: Any = _apprise().instantiate(url, asset=_asset(), suppress_exceptions=True)
    if service is None:
        hint = " For a plain web hook write json:// or jsons://." if "http" in scheme else ""
        raise Invalid.field("url", f"This is no address that Apprise knows.{hint}")
    _refuse_files(service)
    # The ledger retries.  A redirect would send the message where nobody typed it to go.
    service.retry = 0
    service.redirects = False
    service.socket_connect_timeout = CONNECT_SECONDS
    service.socket_read_timeout = READ_SECONDS
    return service


def _refuse_files(service: Any) -> None:
    """Refuse an address that has Apprise read a file, be it the worker's own or another host's.

    Nothing has been read yet: Apprise does so as it sends.
    """
    attachment = import_module("apprise").AppriseAttachment
    for name in _FILES:
        value = getattr(service, name, None)
        # Elsewhere a template is a name that the service itself gave.
        if value and (name != "template" or isinstance(value, attachment)):
            raise Invalid.field("url", "An address may not name a file, such as a key or template.")


def _scheme_of(url: str) -> str:
    found = _SCHEME.match(url)
    if not found:
        raise Invalid.field("url", "An Apprise address such as jsons://example.com/hook.")
    return found[1].lower()


def _hosts_of(service: Any) -> Iterator[tuple[str, int]]:
    """Yield the hosts that an address itself names; those of known services are Apprise's own."""
    port = int(getattr(service, "port", None) or (443 if getattr(service, "secure", 0) else 80))
    named = service.host if "host" in service.template_tokens else None
    for host in (getattr(service, "smtp_host", None) or named,):
        if host:
            yield str(host).strip("[]").lower(), port


def _trusted(host: str, port: int) -> bool:
    return is_allowed(host, port, allowed_hosts())


@cache
def _asset() -> Any:
    return import_module("apprise").AppriseAsset(
        app_id="Switchyard",
        app_desc="Switchyard",
        app_url="",
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        async_mode=False,
    )


@cache
def _apprise() -> Any:
    logging.getLogger("apprise").propagate = False
    return import_module("apprise").Apprise


class _Told(logging.Handler):
    """Takes what this thread's message makes Apprise log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())


@contextmanager
def _told() -> Iterator[list[str]]:
    handler, logger = _Told(), logging.getLogger("apprise")
    # Each time: whoever sets up logs anew may have silenced it meanwhile.
    logger.disabled = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield handler.texts
    finally:
        logger.removeHandler(handler)


def _failure(service: str, told: list[str]) -> Exception:
    """Return the error of a message that was not taken, without what the log may hide."""
    statuses = [int(found[1]) for text in told for found in [_STATUS.search(text)] if found]
    if statuses:
        return Refused(f"{service} answered {statuses[-1]}.", statuses[-1])
    if any(_AWAY.search(text) for text in told):
        return NotSent(f"{service} could not be reached, or gave no answer.")
    return NotSent(f"{service} did not take the message.")

"""Holds a library to our rules that opens its connections itself.

Inside :func:`confined` every address is judged as it is connected to, whoever named it and whatever
a name has come to mean by then: an option, an answer, or a name that changes between two questions
leads nowhere else.  Python tells of each connection before it is made (an audit event); which name
an address was the answer to is known since names are resolved here.  All this holds for the thread,
and not for others that the library may begin.
"""

import errno
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from ipaddress import ip_address
from typing import Any, Final, NoReturn

from webapp.errors import Invalid
from webapp.outbound.addresses import refusal
from webapp.outbound.connections import Trusts, judged
from webapp.outbound.resolution import resolve
from webapp.outbound.values import AddressRefused

RESOLVE_SECONDS: Final = 10.0
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
_SENDS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class Bounds:
    """Where the connections of one call may lead; ``refused`` is the first that was not made.

    To the library it is a connection that failed, so that it cleans up behind itself.
    """

    def __init__(self, trusts: Trusts) -> None:
        self.refused: Invalid | None = None
        self._trusts = trusts
        self._granted: set[tuple[str, int]] = set()

    def judge_name(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Refuse a name by what it points to; what a trusted one points to may be any."""
        try:
            judged(host, port, addresses, self._trusts)
        except AddressRefused as error:
            self._refuse(error)
        if self._trusts(host, port):
            self._granted |= {(address, port) for address in addresses}

    def judge_connection(self, connection: socket.socket, place: Any) -> None:
        """Refuse what is about to be connected to, or to be sent a packet."""
        if connection.family not in _INTERNET:
            self._refuse(_refused("This machine itself is no place to call."))
        host, port = str(place[0]).lower(), int(place[1])
        if (host, port) in self._granted or self._trusts(host, port):
            return
        try:
            kind = refusal(ip_address(host))
        except ValueError:
            kind = "name, which would be looked up after it was judged"
        if kind:
            self._refuse(_refused(f"{host} is no place to call: {kind}."))

    def _refuse(self, error: Invalid) -> NoReturn:
        self.refused = self.refused or error
        raise PermissionError(errno.EACCES, error.detail)


def _refused(text: str) -> Invalid:
    return AddressRefused.field("url", text)


class _Thread(threading.local):
    """The bounds of this thread."""

    bounds: Bounds | None = None


_thread = _Thread()
_look_up: Final = socket.getaddrinfo


@contextmanager
def confined(trusts: Trusts) -> Iterator[Bounds]:
    """Let no connection of this block lead where none may.

    ``trusts`` tells which hosts and ports may be called whatever their address is.  A refusal that
    ends the block is raised as :class:`AddressRefused`; one that the library dealt with itself is
    left in ``refused``.
    """
    _watch()
    before, _thread.bounds = _thread.bounds, Bounds(trusts)
    bounds = _thread.bounds
    try:
        yield bounds
    except OSError:
        if bounds.refused is not None:
            raise bounds.refused from None
        raise
    finally:
        _thread.bounds = before


@cache
def _watch() -> None:
    """Begin to listen, once: Python has no way to stop it."""
    sys.addaudithook(_judge_event)


def _judge_event(event: str, args: tuple[Any, ...]) -> None:
    # A packet without a place goes where its socket was connected to.
    if event in _SENDS and (bounds := _thread.bounds) is not None and args[1] is not None:
        bounds.judge_connection(*args)


def _resolve_judged(
    host: Any,
    port: Any,
    family: int = 0,
    type: int = 0,  # noqa: A002 - its name there
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """Resolve as ``socket.getaddrinfo`` does, but within bounds only what may be called, in time.

    The answer is made of the addresses that were judged: nobody is asked a second time.
    """
    bounds = _thread.bounds
    if bounds is None:
        return _look_up(host, port, family, type, proto, flags)
    name = (host.decode() if isinstance(host, bytes) else host or "").lower()
    number = int(port) if str(port).isdigit() else 0
    addresses = resolve(name, number, seconds=RESOLVE_SECONDS)
    bounds.judge_name(name, number, addresses)
    found: list[Any] = []
    for address in addresses:
        # One of the other family than is asked for.
        with suppress(socket.gaierror):
            found += _look_up(address, port, family, type, proto, flags)
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} has no address of this kind")
    return found


socket.getaddrinfo = _resolve_judged

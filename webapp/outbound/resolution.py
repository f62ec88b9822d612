"""What a name points to, asked within a bound of time.

``getaddrinfo`` knows no time limit, so it runs in a thread that nobody has to wait for.  Whoever
asks for the same name meanwhile waits for the same answer: names that are not answered hold up a
thread each, however often they are asked for.
"""

import asyncio
import os
import socket
import threading
from concurrent.futures import Future
from ipaddress import ip_address

Place = tuple[str, int]


class _Process:
    """The questions of this process that are not answered yet."""

    def __init__(self) -> None:
        self.begin_process()

    def begin_process(self) -> None:
        self.lock = threading.Lock()
        self.waiting: dict[Place, Future[list[str]]] = {}


_process = _Process()
# In a forked child the threads that would answer do not exist.
os.register_at_fork(after_in_child=_process.begin_process)


def resolve(host: str, port: int, *, seconds: float | None) -> list[str]:
    """Return the addresses of a host; ``TimeoutError`` where nobody says them in time."""
    return [host] if _is_address(host) else _ask(host, port).result(seconds)


async def resolve_async(host: str, port: int) -> list[str]:
    """Return the addresses of a host; whoever awaits it bounds the time."""
    return [host] if _is_address(host) else await asyncio.wrap_future(_ask(host, port))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _ask(host: str, port: int) -> Future[list[str]]:
    with _process.lock:
        waiting = _process.waiting.get((host, port))
        if waiting is not None:
            return waiting
        future = _process.waiting[host, port] = Future()
    # Running, so that one who gives up takes nothing away from the others.
    future.set_running_or_notify_cancel()
    try:
        threading.Thread(target=_answer, args=(host, port, future), daemon=True).start()
    except Exception as error:  # noqa: BLE001  # whatever it is, those who wait are told
        _settle((host, port), future, error)
    return future


def _answer(host: str, port: int, future: Future[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer, error = list(dict.fromkeys(str(item[4][0]) for item in found)), None
    except Exception as failure:  # noqa: BLE001  # whatever it is, those who wait are told
        answer, error = [], failure
    _settle((host, port), future, error or answer)


def _settle(place: Place, future: Future[list[str]], answer: list[str] | Exception) -> None:
    """Tell all who wait; whoever comes later asks anew."""
    with _process.lock:
        _process.waiting.pop(place, None)
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)

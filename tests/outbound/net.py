"""Names that mean what a test says, and wires from public addresses to local servers."""

import socket
from typing import Any

Answers = list[list[str]]

# An address of the wide world, which no test reaches.
PUBLIC = "93.184.215.14"


class Net:
    """Stands between the program and the network of the machine."""

    def __init__(self) -> None:
        self.names: dict[str, Answers] = {}
        self.wires: dict[str, int] = {}
        self.asked: list[str] = []
        self.called: list[tuple[str, int]] = []
        self._resolve = socket.getaddrinfo
        self._connect = socket.create_connection

    def getaddrinfo(self, host: str, port: int, *rest: Any, **named: Any) -> Any:
        if host not in self.names:
            return self._resolve(host, port, *rest, **named)
        self.asked.append(host)
        answers = self.names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in found]

    def create_connection(self, address: tuple[str, int], *rest: Any, **named: Any) -> Any:
        self.called.append(address)
        if address[0] not in (*self.wires, "127.0.0.1"):
            raise ConnectionRefusedError(address)
        local = ("127.0.0.1", self.wires.get(address[0], address[1]))
        return self._connect(local, *rest, **named)

"""Who did it: what every write is told, so that the audit can say so."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever makes a change: ``kind`` is user, token, command or system.

    ``request_id`` is that of the request that caused the change, None where there was none.
    """

    kind: str
    name: str
    request_id: str | None = None


SYSTEM = Actor("system", "switchyard")
COMMAND = Actor("command", "command line")

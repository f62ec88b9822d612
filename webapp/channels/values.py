"""The vocabulary of channels.  Nothing here touches the database, the queue or the network."""

from dataclasses import dataclass
from enum import StrEnum

MAX_NAME = 64
MAX_URL = 2000
MAX_TITLE = 200
MAX_BODY = 4000
MAX_LINK = 2000
MAX_KEY = 300

#: Services that keep an incident for each key, and where their addresses have it.
INCIDENT_SERVICES = {"pagerduty": "dedup", "opsgenie": "alias"}
#: The type of the jobs that send.
JOB_TYPE = "notification"


class MessageKind(StrEnum):
    """What a message is about; services show it by a colour, a sign or a priority."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What people are told; ``link`` is where they read on.

    Services that keep incidents take messages of one ``key`` for the same one, and ``success`` for
    its end.
    """

    title: str
    body: str
    kind: MessageKind = MessageKind.INFO
    link: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDraft:
    """All that somebody writes of a channel; an empty ``url`` keeps the one that stands."""

    name: str
    url: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """What may be shown of an address: the service's name, its scheme, at most its host."""

    kind: str
    shown: str

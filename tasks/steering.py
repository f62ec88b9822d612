"""What operators have set, as this process saw it last: looked at once a second."""

import time
from collections.abc import Iterable
from dataclasses import replace

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import reading
from webapp.jobs.steering import UNSTEERED, Steering, read_steering
from webapp.logs import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 1.0
_EXTENSION = "steering"

# Of the consumer that this process belongs to; empty means all.
_only: frozenset[str] = frozenset()


def take_only(queues: Iterable[str]) -> None:
    """Let this process, and those that it forks, take jobs from these queues and no others."""
    global _only  # noqa: PLW0603 - a process has one consumer
    _only = frozenset(queues)


def steering_of(app: Flask) -> Steering:
    """Return what holds; while the database is away, what held when it was seen last."""
    seen: tuple[float, Steering] | None = app.extensions.get(_EXTENSION)
    if seen is not None and time.monotonic() - seen[0] < LOOK_SECONDS:
        return seen[1]
    steering = seen[1] if seen is not None else replace(UNSTEERED, only_queues=_only)
    try:
        with app.app_context(), reading() as session:
            steering = replace(read_steering(session), only_queues=_only)
    except SQLAlchemyError as error:
        log.warning("steering_not_read", error=type(error).__name__)
    app.extensions[_EXTENSION] = (time.monotonic(), steering)
    return steering

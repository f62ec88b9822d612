"""What operators have set, as this process saw it last: looked at once a second."""

import time

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import reading
from webapp.jobs.steering import UNSTEERED, Steering, read_steering
from webapp.logs import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 1.0
_EXTENSION = "steering"


def steering_of(app: Flask) -> Steering:
    """Return what holds; while the database is away, what held when it was seen last."""
    seen: tuple[float, Steering] | None = app.extensions.get(_EXTENSION)
    if seen is not None and time.monotonic() - seen[0] < LOOK_SECONDS:
        return seen[1]
    steering = seen[1] if seen is not None else UNSTEERED
    try:
        with app.app_context(), reading() as session:
            steering = read_steering(session)
    except SQLAlchemyError as error:
        log.warning("steering_not_read", error=type(error).__name__)
    app.extensions[_EXTENSION] = (time.monotonic(), steering)
    return steering

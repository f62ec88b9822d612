"""The beats that move flags along their plans, and that look whether a rollout does harm."""

from datetime import datetime

from flask import Flask

from webapp.db import reading, transaction
from webapp.flags.guarding import Check, check, is_due
from webapp.flags.measuring import measure
from webapp.flags.rollouts import due_rollouts, take_step
from webapp.logs import get_logger
from webapp.metrics import GUARD_TRIPS, ROLLOUT_STEPS
from webapp.settings import Settings

log = get_logger(__name__)


def check_guards(app: Flask, moment: datetime) -> Check | None:
    """Check the guards of this minute, where nobody has yet.

    ``moment`` is by the clock that all processes share.
    """
    settings: Settings = app.extensions["settings"]
    with reading() as session:
        if not is_due(session, now=moment):
            return None
        measured = measure(session, now=moment)
    with transaction() as session:
        done = check(session, measured, now=moment, alpha=settings.flag_false_alarm_rate)
    for trip in done.trips if done is not None else ():
        GUARD_TRIPS.labels(trip.action).inc()
        log.warning(
            "guard_tripped",
            flag=trip.flag,
            guards=list(trip.guards),
            action=trip.action,
            before=trip.before,
            after=trip.after,
            evidence=trip.reason,
        )
    return done


def step_rollouts(moment: datetime) -> None:
    """Take the steps that are due, each in a transaction of its own: none holds up another."""
    with reading() as session:
        due = due_rollouts(session, now=moment)
    for name in due:
        try:
            with transaction() as session:
                stepped = take_step(session, name, now=moment)
        except Exception as error:  # noqa: BLE001  # a later beat tries again
            log.warning("rollout_not_stepped", flag=name, error=type(error).__name__)
            continue
        if stepped is not None:
            ROLLOUT_STEPS.inc()
            log.info(
                "rollout_stepped",
                flag=name,
                percentage=stepped.percentage,
                state=stepped.state,
            )

"""The beat that keeps the figures of jobs; see ``webapp.jobs.rollup``."""

from datetime import datetime, timedelta

from flask import Flask

from webapp.db import reading, transaction
from webapp.jobs.rollup import CLOSES_AFTER, count, is_due, take_turn, write
from webapp.settings import Settings


def roll_up_figures(app: Flask, moment: datetime) -> None:
    """Count how attempts ended, where nobody has done so for a while.

    ``moment`` is by the clock that all consumers share, lest one of them closes minutes early.
    They are counted outside the writing transactions: no job waits for it.
    """
    with reading() as session:
        if not is_due(session, now=moment):
            return
    with transaction() as session:
        turn = take_turn(session, now=moment, closes_after=_closes_after(app))
    if turn is None:
        return
    with reading() as session:
        minutes = count(session, turn)
    with transaction() as session:
        write(session, turn, minutes)


def _closes_after(app: Flask) -> timedelta:
    """Return how late an end may be written: a worker tries for as long as a lease lasts."""
    settings: Settings = app.extensions["settings"]
    return max(CLOSES_AFTER, timedelta(seconds=3 * settings.job_lease_seconds))

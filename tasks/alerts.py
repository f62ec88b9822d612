"""The beat that judges what is measured, once in each minute; see ``webapp.alerts.evaluating``."""

from datetime import datetime

from flask import Flask

from webapp.alerts.evaluating import Evaluation, evaluate, is_due
from webapp.alerts.measuring import measure
from webapp.db import reading, transaction
from webapp.logs import get_logger
from webapp.settings import Settings

log = get_logger(__name__)


def evaluate_alerts(app: Flask, moment: datetime) -> Evaluation | None:
    """Judge this minute, where nobody has yet.

    ``moment`` is by the clock that all processes share.  What is measured is read outside the
    writing transaction: no job waits for it.
    """
    settings: Settings = app.extensions["settings"]
    with reading() as session:
        if not is_due(session, now=moment):
            return None
        measured = measure(session, now=moment, has_workers=settings.has_workers)
    with transaction() as session:
        done = evaluate(session, measured, now=moment, console_url=settings.console_url)
    if done is not None:
        _log(done)
    return done


def _log(done: Evaluation) -> None:
    for change in done.changes:
        log.info(
            "alert_changed",
            alert_id=change.alert_id,
            alert=change.key,
            what=change.event,
            severity=change.severity,
            told=change.telling,
        )
    if done.missing_channels:
        log.warning("alert_channels_missing", channels=list(done.missing_channels))

"""Many jobs of one type, and how they stand."""

from typing import Any

from flask import Flask
from sqlalchemy import func, select, update

from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.models import Job
from webapp.jobs.wishes import Wish


def make(app: Flask, count: int, **values: Any) -> list[int]:
    with app.app_context(), transaction() as session:
        wishes = [Wish("test_echo", {"value": number}) for number in range(count)]
        ids = service.enqueue_all(session, wishes, by=SYSTEM, now=now())
        if values:
            session.execute(update(Job).where(Job.id.in_(ids)).values(**values))
    return ids


def counts(app: Flask) -> dict[str, int]:
    with app.app_context(), reading() as session:
        rows = select(Job.state, func.count()).where(Job.type == "test_echo").group_by(Job.state)
        return dict(session.execute(rows).tuples().all())

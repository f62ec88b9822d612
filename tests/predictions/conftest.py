"""Records of a real labelled set, which scikit-learn ships, as a source has them."""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from tasks.work import run
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs.models import Job
from webapp.jobs.service import enqueue
from webapp.predictions.models import ModelVersion, Prediction
from webapp.sources.models import EtlRun, Record
from webapp.sources.service import create_source
from webapp.sources.values import RunStatus

SOURCE = "tumours"
TARGET = "diagnosis"
KEY = "case"


@cache
def tumours() -> tuple[dict[str, str], ...]:
    """The breast cancer set: 569 cases, 30 measures of each, benign or malignant."""
    import sklearn.datasets  # noqa: PLC0415 - only who asks for the rows loads it

    path = Path(sklearn.datasets.__file__).parent / "data" / "breast_cancer.csv"
    with path.open(newline="") as file:
        _, _, *names = next(csv.reader(file))
        lines = list(csv.reader(file))
    fields = [f"measure{number}" for number in range(30)]
    return tuple(
        {
            KEY: f"case-{number:03}",
            **dict(zip(fields, line, strict=False)),
            TARGET: names[int(line[-1])],
        }
        for number, line in enumerate(lines)
    )


def add_records(rows: tuple[dict[str, str], ...], name: str = SOURCE, key: str = KEY) -> None:
    """Keep rows as the records of a source, as a run would."""
    with transaction() as session:
        source = create_source(
            session, name, location=f"/srv/{name}.csv", key_field=key, by=COMMAND, now=now()
        )
        reading_run = EtlRun(
            source_id=source.id,
            started_at=now(),
            status=RunStatus.SUCCEEDED,
            checkpoint={"offset": 1, "line": 1, "size": 1, "modified": 1},
        )
        session.add(reading_run)
        session.flush()
        session.execute(
            insert(Record),
            [
                {
                    "source_id": source.id,
                    "key": row[key],
                    "content_hash": "0" * 32,
                    "raw": row,
                    "first_seen_at": now(),
                    "last_seen_at": now(),
                    "run_id": reading_run.id,
                }
                for row in rows
            ],
        )
        source.record_count = len(rows)


def change_record(key: str, fields: dict[str, Any], content_hash: str = "1" * 32) -> None:
    """Change a record as a later run would."""
    with transaction() as session:
        session.execute(
            update(Record).where(Record.key == key).values(raw=fields, content_hash=content_hash)
        )


def enqueue_job(type_name: str, **arguments: Any) -> int:
    with transaction() as session:
        return enqueue(session, type_name, {"source": SOURCE} | arguments, by=COMMAND, now=now()).id


def work(app: Flask, type_name: str, **arguments: Any) -> Job:
    """Run a job to its end, and return it."""
    job_id = enqueue_job(type_name, **arguments)
    run(app, job_id, worker="w")
    with reading() as session:
        return session.get_one(Job, job_id)


def train(app: Flask, **arguments: Any) -> ModelVersion:
    """Train a version, and return it."""
    done = work(app, "model_retraining", **({"target": TARGET} | arguments))
    assert done.result, done.error
    return version(done.result["version"])


def version(version_id: int) -> ModelVersion:
    with reading() as session:
        return session.get_one(ModelVersion, version_id)


def predictions() -> dict[tuple[int, str], Prediction]:
    """All predictions by version and key."""
    with reading() as session:
        return {(item.version_id, item.key): item for item in session.scalars(select(Prediction))}


def count(session: Session, model: type[Any]) -> int:
    return session.scalar(select(func.count()).select_from(model)) or 0


@pytest.fixture
def records(app: Flask) -> Iterator[tuple[dict[str, str], ...]]:
    """The set as the records of a source, within the application."""
    with app.app_context():
        add_records(tumours())
        yield tumours()

"""What a container of the image becomes, and how a supervisor learns that a worker lives."""

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from webapp.clock import now
from webapp.db import db
from webapp.workers.service import beat, farewell
from webapp.workers.values import WorkerIdentity

ROOT = Path(__file__).resolve().parents[2]
NAME = "here:1:a"


@pytest.mark.parametrize(
    ("words", "started"),
    [
        ([], "gunicorn -c gunicorn.conf.py wsgi:app"),
        (["web"], "gunicorn -c gunicorn.conf.py wsgi:app"),
        (["worker"], "huey_consumer tasks.huey -w 3 -k process"),
        (["edge"], "granian --interface wsgi --factory --host 0.0.0.0"),
        (["release"], "flask db upgrade"),
        (["flask", "users", "create", "a b"], "flask users create a b"),
    ],
)
def test_a_container_becomes_what_it_is_told(
    tmp_path: Path, words: list[str], started: str
) -> None:
    for program in ("gunicorn", "huey_consumer", "granian", "flask"):
        stand_in = tmp_path / program
        stand_in.write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        stand_in.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOST": "0.0.0.0", "WORKERS": "3"}
    command = [str(ROOT / "scripts" / "container.sh"), *words]
    told = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    assert told.startswith(started)


def is_alive(app: Flask) -> bool:
    environ = os.environ | {"DATABASE_URL": app.extensions["settings"].database_url}
    command = [sys.executable, str(ROOT / "scripts" / "worker_alive.py")]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode == 0


def worker(host: str) -> WorkerIdentity:
    return WorkerIdentity(
        name=NAME, place="here", host=host, pid=1, kind="process", processes=2, version="0"
    )


def test_a_worker_of_this_host_lives_while_it_beats(app: Flask, session: Session) -> None:
    here = worker(socket.gethostname())
    assert not is_alive(app)
    beat(session, worker("elsewhere"), now=now())
    db.session.commit()
    assert not is_alive(app)
    session.execute(db.text("DELETE FROM workers"))
    beat(session, here, now=now() - timedelta(seconds=61))
    db.session.commit()
    assert not is_alive(app)
    beat(session, here, now=now())
    db.session.commit()
    assert is_alive(app)
    farewell(session, NAME, now=now())
    db.session.commit()
    assert not is_alive(app)

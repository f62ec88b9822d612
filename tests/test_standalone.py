"""A command that needs no application is had without one, and no other is."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from flask.cli import FlaskGroup

from webapp.standalone import stand_in

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("words", "environ", "status", "told"),
    [
        (["--queue", "a,b"], {}, 2, "--queue"),
        ([], {"WORKER_NAME": "a b"}, 1, "Invalid settings:\n  - WORKER_NAME: "),
    ],
)
def test_no_application_is_built_to_find_it(
    tmp_path: Path, words: list[str], environ: dict[str, str], status: int, told: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flask", "-A", "wsgi", "worker", *words],
        cwd=ROOT,
        env=os.environ | {"INSTANCE_DIR": str(tmp_path)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = ended.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")}
    said = "\n".join(line for line in lines if not line.startswith("import time"))
    assert (ended.returncode, told in said) == (status, True), said
    assert "webapp.standalone" in imported
    assert imported.isdisjoint({"tasks", "webapp.app"})


@pytest.mark.parametrize(
    ("line", "alone"),
    [
        ("flask worker", True),
        ("flask --app wsgi --debug worker --queue a", True),
        ("flask -A wsgi -e a.env worker --help", True),
        ("flask --app worker run", False),
        ("flask run worker", False),
        ("flask --help", False),
        ("flask --unknown worker", False),
        ("flask", False),
    ],
)
def test_it_is_known_by_what_stands_behind_the_options_of_flask(
    monkeypatch: pytest.MonkeyPatch, line: str, alone: bool
) -> None:
    monkeypatch.setattr(sys, "argv", line.split())
    assert stand_in() is None
    with click.Context(click.Group("other")):
        assert stand_in() is None
    with click.Context(FlaskGroup()):
        found = stand_in()
    assert (found is not None) is alone
    assert found is None or list(found.cli.commands) == ["worker"]

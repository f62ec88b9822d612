"""``flask worker`` refuses what no worker can be, before it becomes one."""

import os

import pytest
from flask import Flask

from webapp.settings import Settings, SettingsError

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """What the command would have become, with which variables on top."""
    seen: list[tuple[list[str], dict[str, str]]] = []

    def become(program: str, command: list[str], environ: dict[str, str]) -> None:
        del program
        given = {name: value for name, value in environ.items() if name.startswith("WORKER_")}
        seen.append((list(command), given))

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setenv("SHUTDOWN_GRACE", "7")
    return seen


Begun = list[tuple[list[str], dict[str, str]]]


def test_it_becomes_the_consumer_of_the_procfile(app: Flask, begun: Begun) -> None:
    words = ["worker", "--queue", "a", "--queue", "b", "--name", "n", "--burst", "--no-scheduler"]
    assert app.test_cli_runner().invoke(args=[*words, "--workers", "3"]).exit_code == 0
    ((command, environ),) = begun
    line = "huey.bin.huey_consumer tasks.huey -w 3 -t 7 -k process -g TERM -c 2 -d .05 -m .25 -n"
    assert command[2:] == line.split()
    assert environ == {
        "WORKER_QUEUES": "a,b",
        "WORKER_NAME": "n",
        "WORKER_BURST": "true",
        "WORKER_SCHEDULER": "false",
    }


def test_what_it_does_not_say_is_left_to_the_environment(app: Flask, begun: Begun) -> None:
    assert app.test_cli_runner().invoke(args=["worker"], env={"WORKERS": "5"}).exit_code == 0
    ((command, environ),) = begun
    assert command[command.index("-w") + 1] == "5"
    assert environ == {}


@pytest.mark.parametrize(
    "words",
    [["--queue", "a,b"], ["--queue", " "], ["--name", "a b"], ["--workers", "0"]],
)
def test_what_makes_no_sense_is_refused(app: Flask, begun: Begun, words: list[str]) -> None:
    refused = app.test_cli_runner().invoke(args=["worker", *words])
    assert (refused.exit_code, begun) == (2, [])
    assert words[0] in refused.output


def test_where_jobs_run_in_their_caller_there_is_nothing_to_do_for_it(
    app: Flask, begun: Begun
) -> None:
    runner = app.test_cli_runner(env={"QUEUE_BACKEND": "immediate"})
    refused = runner.invoke(args=["worker"])
    assert (refused.exit_code, begun) == (1, [])
    assert "immediate" in refused.output


@pytest.mark.parametrize(
    "environ",
    [{"WORKER_NAME": "a b"}, {"JOB_RETENTION_DAYS": "0"}, {"DEAD_LETTER_RETENTION_DAYS": "0"}],
)
def test_settings_that_cannot_be_are_named(app: Flask, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(environ))):
        Settings.from_environment(environ)

"""``flask worker``: Huey's consumer by options that speak of queues and jobs."""

import os
import socket
import sys
from typing import NoReturn

import click

from webapp.settings import WORKER_NAME, Settings, SettingsError

#: As the Procfile starts it; what each means stands in docs/operating.md.
CONSUMER = ("-k", "process", "-g", "TERM", "-c", "2", "-d", ".05", "-m", ".25", "-n")


@click.command("worker")
@click.option("--queue", "queues", multiple=True, help="Take jobs from it only; repeatable.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=2,
    envvar="WORKERS",
    show_default=True,
    help="Job processes.",
)
@click.option("--name", default="", help="Begins its name, in place of the host's.")
@click.option("--burst", is_flag=True, help="End once nothing is due.")
@click.option(
    "--with-scheduler/--no-scheduler",
    "scheduler",
    default=True,
    help="Fire schedules and rescue lost jobs too, or leave that to other workers.",
)
def worker(
    *, queues: tuple[str, ...], workers: int, name: str, burst: bool, scheduler: bool
) -> None:
    """Run jobs: the consumer of the Procfile, in this process's place."""
    settings = _settings()
    if not settings.has_workers:
        message = "QUEUE_BACKEND is immediate: each job runs in the process that enqueues it."
        raise click.ClickException(message)
    wanted = {
        "WORKER_QUEUES": ",".join(_checked(queues)),
        "WORKER_NAME": _checked_name(name),
        "WORKER_BURST": "true" if burst else "",
        "WORKER_SCHEDULER": "" if scheduler else "false",
        "PROMETHEUS_MULTIPROC_DIR": os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        or str(settings.instance_dir / "metrics" / socket.gethostname()),
    }
    # What the command does not say, the environment may.
    given = {variable: value for variable, value in wanted.items() if value}
    _become_consumer(workers, given)


def _settings() -> Settings:
    """Read the settings; end as every command does where they are invalid."""
    try:
        return Settings.from_environment()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


def _become_consumer(workers: int, environ: dict[str, str]) -> NoReturn:
    """Go on as the consumer: it has this process's id, and gets its signals."""
    grace = os.environ.get("SHUTDOWN_GRACE", "30")
    options = ("-w", str(workers), "-t", grace, *CONSUMER)
    command = (sys.executable, "-m", "huey.bin.huey_consumer", "tasks.huey", *options)
    sys.stdout.flush()
    os.execve(sys.executable, command, os.environ | environ)  # noqa: S606 - no shell is wanted


def _checked(queues: tuple[str, ...]) -> tuple[str, ...]:
    for queue in queues:
        if not queue.strip() or "," in queue:
            message = "A queue's name is a text without commas."
            raise click.BadParameter(message, param_hint="--queue")
    return queues


def _checked_name(name: str) -> str:
    if not WORKER_NAME.fullmatch(name):
        message = "Up to 100 letters, digits, dots, dashes and underscores."
        raise click.BadParameter(message, param_hint="--name")
    return name

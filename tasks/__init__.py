"""Switchyard's jobs and the consumer that runs them: ``huey_consumer tasks.huey``.

Importing this package registers every type of job, so that the consumer, the web process and the
commands know the same ones.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module

from tasks.application import application
from tasks.callback import tell_ends
from tasks.figures import roll_up_figures
from tasks.periodic import due_now, keep_up_ledger, prepare_child, rescue_lost
from tasks.queue import REDIS_SEND_SECONDS, CallerBroker, HueyBroker, build_huey
from tasks.work import run, work
from webapp.clock import now
from webapp.jobs.broker import provide_broker
from webapp.settings import Settings

_app = application()
_settings: Settings = _app.extensions["settings"]

huey = build_huey(_settings, queues=_settings.worker_queues)


@huey.task(name="run_job")
def run_job(job_id: int) -> None:
    """Look at job N now.  The name must never change: messages of an unknown task are dropped."""
    work(_app, job_id, worker=huey.identity.name, stopping=huey.stopping)


huey.on_startup(name="prepare_child")(prepare_child)

for _module in (
    "tasks.bulk",
    "tasks.callback",
    "tasks.cleanup",
    "tasks.dead_letters",
    "tasks.etl",
    "tasks.notifications",
    "tasks.predictions",
    "tasks.reports",
    "tasks.webhooks",
    *_settings.job_modules,
):
    import_module(_module)


def _catch_up() -> list[int]:
    with _app.app_context():
        rescue_lost(_app)
        keep_up_ledger(_app, now())
        tell_ends(_app)
        roll_up_figures(_app, now())
        return due_now(_app)


def _broker(queues: Sequence[str] = ()) -> HueyBroker:
    sender = build_huey(_settings, queues=queues, answer_seconds=REDIS_SEND_SECONDS)
    return HueyBroker(sender, sender.task(name="run_job")(run_job.func))


if _settings.has_workers:
    # Connections of its own: whoever enqueues must not wait as long as an idle worker may.
    provide_broker(_broker())
    if _settings.worker_queues:
        huey.own_broker = _broker(_settings.worker_queues)
else:
    provide_broker(CallerBroker(partial(run, _app, worker="caller", early=True), _catch_up))

"""Switchyard's jobs and the consumer that runs them: ``huey_consumer tasks.huey``.

Importing this package registers every type of job, so that the consumer, the web process and the
commands know the same ones.
"""

from functools import partial
from importlib import import_module

from tasks.application import application
from tasks.periodic import prepare_child
from tasks.queue import CallerBroker, HueyBroker, build_huey
from tasks.runner import run
from webapp.jobs.broker import provide_broker
from webapp.settings import Settings

_app = application()
_settings: Settings = _app.extensions["settings"]

huey = build_huey(_settings)


@huey.task(name="run_job")
def run_job(job_id: int) -> None:
    """Look at job N now.  The name must never change: messages of an unknown task are dropped."""
    run(_app, job_id, worker=huey.identity.name)


huey.on_startup(name="prepare_child")(prepare_child)

for _module in ("tasks.etl", *_settings.job_modules):
    import_module(_module)

if _settings.queue_backend == "immediate":
    provide_broker(CallerBroker(partial(run, _app, worker="caller", early=True)))
else:
    provide_broker(HueyBroker(huey, run_job))

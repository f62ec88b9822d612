"""What this capability hands to the application."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flask import Flask, current_app
from sqlalchemy.orm import Session

from webapp.alerts.reporting import report
from webapp.alerts.values import Metric
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.flags import (
    action_pages,
    api,
    edit_pages,
    evaluation_api,
    group_pages,
    pages,
    rollout_api,
    segment_pages,
    shared_api,
    snapshot_api,
    transfer_api,
)
from webapp.flags.collecting import UsageCollector
from webapp.flags.feeds import DatabaseFeed
from webapp.flags.short_cut import register_short_cut
from webapp.flags.signals import RedisSignals
from webapp.flags.sinks import DatabaseSink
from webapp.flags.snapshot import FlagStore, provide_store
from webapp.flags.usage import UsageCounter
from webapp.web.capability import Capability
from webapp.web.menu import MenuEntry

EXTENSION: Final = "flag_store"

# Three modules add their views to one blueprint; two more stand below its address.
PAGES: Final = dict.fromkeys(module.blueprint for module in (pages, edit_pages, action_pages))
for below in (segment_pages, group_pages):
    pages.blueprint.register_blueprint(below.blueprint)


def register_flag_store(app: Flask) -> None:
    """Give an application its store of flags; nothing is read before the first evaluation."""
    settings = app.extensions["settings"]

    @contextmanager
    def open_session() -> Iterator[Session]:
        with app.app_context(), reading() as session:
            yield session

    def note_stale(seconds: float) -> None:
        with app.app_context(), transaction() as session:
            report(
                session,
                Metric.FLAGS_STALE,
                socket.gethostname(),
                now=now(),
                facts={"process": os.getpid(), "seconds": round(seconds, 1)},
            )

    store = FlagStore(
        DatabaseFeed(open_session),
        environment=settings.flag_environment,
        poll_seconds=settings.flag_poll_seconds,
        trust_seconds=settings.flag_cache_ttl,
        usage=UsageCounter(DatabaseSink(settings.database_url)) if settings.flag_metrics else None,
        signals=RedisSignals(settings.redis_url) if settings.redis_url else None,
    )
    store.note_stale = note_stale
    app.extensions[EXTENSION] = store
    if settings.redis_url:
        app.extensions["usage_collector"] = UsageCollector(
            settings.redis_url,
            DatabaseSink(settings.database_url),
            store.names,
        )
    provide_store(store, _present_store)
    register_short_cut(app)


def _present_store() -> FlagStore:
    store: FlagStore = current_app.extensions[EXTENSION]
    return store


flags = Capability(
    name="flags",
    blueprints=(
        *PAGES,
        api.blueprint,
        evaluation_api.blueprint,
        rollout_api.blueprint,
        transfer_api.blueprint,
        shared_api.blueprint,
        snapshot_api.blueprint,
    ),
    menu=MenuEntry(label="Flags", endpoint="flags.index", icon="flag"),
    setup=register_flag_store,
)

"""Probes for machines: is this process alive, and can it do its work."""

import os
from collections.abc import Mapping
from pathlib import Path

from flask import Blueprint, Response, current_app, jsonify

from webapp.db import db
from webapp.flags.snapshot import flag_store
from webapp.health.checks import (
    Checks,
    Look,
    PartState,
    look_at_broker,
    look_at_database,
    look_at_flags,
    look_at_migrations,
)
from webapp.jobs.broker import current_broker
from webapp.web.access import public

blueprint = Blueprint("health", __name__)
# What a process answers that only decides flags.
edge_blueprint = Blueprint("edge_health", __name__)
_checks = Checks()


@blueprint.get("/health")
@edge_blueprint.get("/health")
@public
def health() -> Response:
    """Alive: answers at once and asks nothing else."""
    return _uncached(jsonify(status="ok"))


@blueprint.get("/ready")
@public
def ready() -> Response:
    """Ready: 200 where every part is up, else 503; either way with the state of each."""
    engine, broker = db.engine, current_broker()
    migrations = Path(current_app.extensions["migrate"].directory)
    return _answer(
        {
            "database": look_at_database(engine),
            "migrations": look_at_migrations(engine, migrations),
            "broker": look_at_broker(broker) if broker else None,
            "flags": look_at_flags(flag_store()),
        }
    )


@edge_blueprint.get("/ready")
@public
def edge_ready() -> Response:
    """Ready: the flags are had, and fresh."""
    return _answer({"flags": look_at_flags(flag_store())})


def _answer(looks: Mapping[str, Look | None]) -> Response:
    parts = _checks.run(looks, process=os.getpid())
    fit = all(part.state != PartState.DOWN for part in parts.values())
    response = jsonify(
        status="ready" if fit else "not ready",
        parts={name: {"state": part.state, **part.facts} for name, part in parts.items()},
    )
    response.status_code = 200 if fit else 503
    return _uncached(response)


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response

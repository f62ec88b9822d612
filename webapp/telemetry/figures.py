"""The figures of sources and breakers as JSON."""

from datetime import datetime
from typing import Any

from webapp.breakers.service import states_by_name
from webapp.db import DbSession
from webapp.limits.schemas import stats_as_json
from webapp.limits.stats import stats_of_sources
from webapp.sources.queries import RunView, list_sources, recent_runs

RUNS = 50


def figures_as_json(session: DbSession, *, now: datetime) -> dict[str, Any]:
    """Return runs, records, drift, checkpoints and rate limits of sources, and breakers' states."""
    sources = list_sources(session)
    limits = stats_of_sources(session, [view.source for view in sources], now=now)
    return {
        "at": now,
        "sources": [
            {
                "name": view.source.name,
                "kind": view.source.kind,
                "records": view.source.record_count,
                "renames_to_decide": view.held,
                "last_run": _run(view.last_run, now) if view.last_run else None,
                "rate_limit": stats_as_json(limits[view.source.name]),
            }
            for view in sources
        ],
        "runs": [_run(run, now) for run in recent_runs(session, RUNS)],
        "breakers": [
            {"name": name, "state": state}
            for name, state in states_by_name(session, now=now).items()
        ],
    }


def _run(run: RunView, now: datetime) -> dict[str, Any]:
    return {
        "id": run.id,
        "source": run.source,
        "job_id": run.job_id,
        "status": run.status,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "duration_seconds": round(run.duration(now), 3),
        "records": {
            "processed": run.processed,
            "inserted": run.inserted,
            "updated": run.updated,
            "unchanged": run.unchanged,
            "rejected": run.rejected,
        },
        "drift": run.drift,
        "checkpoint": {"bytes_read": run.bytes_read, "bytes_total": run.bytes_total},
    }

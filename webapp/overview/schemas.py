"""How the whole stands, as JSON."""

from datetime import datetime
from typing import Any

from webapp.health.service import HealthReport
from webapp.health.values import TypeVerdict
from webapp.overview.totals import Totals


def health_as_json(report: HealthReport, *, now: datetime) -> dict[str, Any]:
    """Write how the whole stands, why, and how each type of job does."""
    found, signs = report.assessment, report.signs
    return {
        "at": now,
        "overall_health": found.level,
        "reasons": found.reasons,
        "workers_alive": signs.workers_alive,
        "schedulers_alive": signs.schedulers_alive,
        "open_breakers": signs.open_breakers,
        "open_dead_letters": signs.open_letters,
        "job_types": [_type(verdict) for verdict in found.types],
        "alerts": [
            {"name": alert.name, "severity": alert.severity, "since": alert.since}
            for alert in found.alerts
        ],
    }


def _type(verdict: TypeVerdict) -> dict[str, Any]:
    evidence = verdict.evidence
    rate = evidence.day.success_rate
    return {
        "type": verdict.type,
        "status": verdict.level,
        "success_rate": None if rate is None else round(rate, 2),
        "runs": evidence.day.runs,
        "failed": evidence.day.failed,
        "last_run_ago": evidence.last_run_ago,
        "oldest_due_seconds": evidence.oldest_due,
        "open_dead_letters": evidence.open_letters,
        "issues": [issue.words for issue in verdict.issues],
    }


def totals_as_json(totals: Totals) -> dict[str, Any]:
    """Write how much there is of each kind; what was counted no further than the cap is named."""
    return {
        "at": totals.at,
        "flags": {"in_use": totals.flags.flags, "revision": totals.flags.revision},
        "jobs": totals.jobs,
        "dead_letters": {"open": totals.letters_open, "resolved": totals.letters_resolved},
        "schedules": {"enabled": totals.schedules_enabled, "paused": totals.schedules_paused},
        "workers": {"alive": totals.workers_alive, "schedulers": totals.schedulers_alive},
        "breakers": {"open": totals.open_breakers},
        "sources": {"count": totals.sources, "records": totals.records},
        "capped": totals.capped,
    }

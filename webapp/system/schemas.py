"""The facts of an installation as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from webapp.system.queries import SettingFact, SystemFacts


def system_as_json(
    facts: SystemFacts, settings: Sequence[SettingFact], *, now: datetime
) -> dict[str, Any]:
    """Write what there is to know; secrets are masked."""
    return {
        "version": facts.version,
        "environment": facts.environment,
        "python": facts.python,
        "packages": facts.packages,
        "database": {
            "kind": facts.database,
            "url": facts.database_url,
            "bytes": facts.database_bytes,
        },
        "queue_backend": facts.queue_backend,
        "started_at": facts.started_at,
        "uptime_seconds": max(0.0, (now - facts.started_at).total_seconds()),
        "flags": {
            "loaded": facts.flags.loaded,
            "revision": facts.flags.revision,
            "age_seconds": facts.flags.age if facts.flags.loaded else None,
            "stale": facts.flags.stale,
        },
        "checks": [
            {
                "about": finding.about,
                "state": finding.state,
                "good": finding.good,
                "grade": finding.grade,
                "advice": finding.advice or None,
            }
            for finding in facts.findings
        ],
        "settings": [
            {
                "name": fact.setting.name,
                "value": fact.setting.value,
                "origin": fact.origin,
                "meaning": fact.setting.doc,
            }
            for fact in settings
        ],
    }

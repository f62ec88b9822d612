"""What other parts of the program report as it happens, for rules that count it.

Imports next to nothing, so that whoever reports is not slowed down by what becomes of it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert

from webapp.alerts.models import AlertReport
from webapp.alerts.values import MAX_LABEL, Metric
from webapp.db import DbSession, storable
from webapp.logs import masked


def report(
    session: DbSession,
    metric: Metric,
    label: str,
    *,
    now: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Note that something happened which rules of a metric of ``REPORTED`` count.

    It stands with the caller's transaction; ``facts`` are its evidence.
    """
    values = {"metric": metric, "label": storable(label)[:MAX_LABEL], "at": now}
    session.execute(insert(AlertReport).values(**values, facts=masked(dict(facts or {}))))

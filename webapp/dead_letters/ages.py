"""Counts letters by their age, each once, in the statement that counts them anyway.

Does not know which letters are looked at, nor what they are grouped by.
"""

from datetime import datetime

from sqlalchemy import Label, RowMapping, Subquery, func

from webapp.dead_letters.values import AGES, OLDER


def newer_counts(looked: Subquery, now: datetime) -> list[Label[int]]:
    """Count what is newer than each age."""
    return [
        func.count().filter(looked.c.failed_at > now - span).label(f"newer_{age}")
        for age, span in AGES.items()
    ]


def counts_by_age(row: RowMapping, count: int) -> dict[str, int]:
    """Turn counts of what is newer than each age into counts of what lies between two."""
    ages: dict[str, int] = {}
    before = 0
    for age in AGES:
        newer = row[f"newer_{age}"]
        ages[age] = newer - before
        before = newer
    return ages | {OLDER: count - before}

"""Dead letters as JSON: the bodies that are read, and the answers."""

from datetime import datetime
from typing import Any

from pydantic import Field

from webapp.dead_letters.bulk import BulkOutcome, told
from webapp.dead_letters.figures import LetterFigures
from webapp.dead_letters.groups import Group
from webapp.dead_letters.queries import LetterRow
from webapp.dead_letters.values import (
    BulkAction,
    BulkOrder,
    LetterFilters,
)
from webapp.errors import Invalid
from webapp.logs import masked
from webapp.paging import COUNT_CAP
from webapp.web.schemas import ReasonText, Schema, Text


class RetryRequest(Schema):
    """The body of a retry; arguments that are absent stay as they are."""

    arguments: dict[str, Any] | None = None


class ResolveRequest(Schema):
    """The body of a resolution."""

    notes: ReasonText = ""


class CleanupRequest(Schema):
    """The body that removes what was closed more than so many days ago."""

    days: int = Field(ge=0, le=36_500)


class FilterBody(Schema):
    """What a bulk is narrowed to; an empty one means all open letters."""

    type: Text = ""
    exception: Text = ""
    fingerprint: Text = ""
    text: Text = Field(default="", max_length=200)
    older: Text = ""
    newer: Text = ""

    def filters(self) -> LetterFilters:
        """Return the filters that are asked for."""
        return LetterFilters(**self.model_dump())


class BulkRequest(Schema):
    """The body of a bulk: an action, and either a filter or jobs by name."""

    action: BulkAction
    filter: FilterBody | None = None
    job_ids: list[int] | None = None
    per_minute: float | None = None
    when_breaker_closes: Text | None = None
    notes: ReasonText = ""
    reason: ReasonText = ""
    dry_run: bool = False

    def order(self, *, now: datetime) -> BulkOrder:
        """Return what is asked for."""
        if (self.filter is None) == (self.job_ids is None):
            raise Invalid.field("filter", "Either a filter, {} for all open letters, or job_ids.")
        return BulkOrder(
            action=self.action,
            at=now,
            filters=self.filter.filters() if self.filter else LetterFilters(),
            job_ids=None if self.job_ids is None else tuple(self.job_ids),
            why=self.reason if self.action == BulkAction.DISCARD else self.notes,
            per_minute=self.per_minute,
            breaker=self.when_breaker_closes,
        )


def letter_as_json(row: LetterRow) -> dict[str, Any]:
    """Write a letter, its arguments without what is secret."""
    return {
        "job_id": row.job_id,
        "job_state": row.job_state,
        "type": row.type,
        "arguments": masked(row.arguments),
        "reason": row.reason,
        "error_class": row.error_class,
        "exception_type": row.exception_type,
        "message": row.message,
        "fingerprint": row.fingerprint,
        "retryable": row.retryable,
        "retry_count": row.retry_count,
        "failed_at": row.failed_at,
        "resolved": not row.open,
        "resolution": row.resolution,
        "resolved_at": row.resolved_at,
        "resolved_by": row.resolved_by,
        "notes": row.notes,
    }


def group_as_json(group: Group) -> dict[str, Any]:
    """Write a group; shares are 0 to 100."""
    return {
        "fingerprint": group.fingerprint,
        "type": group.type,
        "exception_type": group.exception_type,
        "count": group.count,
        "retryable": group.retryable,
        "retryable_share": round(group.retryable_share, 1),
        "first_failed_at": group.first_failed_at,
        "last_failed_at": group.last_failed_at,
        "by_age": group.ages,
        "sample": {"job_id": group.sample_job_id, "message": group.sample},
    }


def figures_as_json(figures: LetterFigures) -> dict[str, Any]:
    """Write the figures; what is told of the open ones adds up to ``open``."""
    share = 100 * figures.retryable / figures.open if figures.open else None
    return {
        "open": figures.open,
        "resolved": figures.resolved,
        "capped": max(figures.open, figures.resolved) > COUNT_CAP,
        "retryable": figures.retryable,
        "retryable_share": None if share is None else round(share, 1),
        "by_reason": figures.by_reason,
        "by_type": figures.by_type,
        "by_age": figures.by_age,
    }


def outcome_as_json(outcome: BulkOutcome) -> dict[str, Any]:
    """Write what came of a bulk: what was done, or the job that does it."""
    place = outcome.place
    return {
        "dry_run": False,
        "count": outcome.count,
        "capped": outcome.capped,
        "done": place.done if place else None,
        "refused": told(place.refused) if place else None,
        "job_id": outcome.job_id,
    }

"""The page Audit: every change, narrowed by what the address says."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.audit.export import COLUMNS, row_batches
from webapp.audit.queries import find_entries, known_actions, known_subjects
from webapp.audit.values import Entry, Filters
from webapp.clock import now
from webapp.db import db
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import render
from webapp.web.spreadsheets import csv_answer

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

# Where a kind of thing has a page: the endpoint, and the argument that takes the name, if any.
PAGES: dict[str, tuple[str, str | None]] = {
    "flag": ("flags.show", "name"),
    "segment": ("flags.segments.show", "name"),
    "group": ("flags.groups.show", "name"),
    "job": ("jobs.show", "job_id"),
    "job_type": ("jobs.policy", "name"),
    "queue": ("jobs.types", None),
    "dead_letter": ("dead_letters.show", "letter_id"),
    "schedule": ("schedules.show", "name"),
    "source": ("sources.show", "name"),
    "breaker": ("breakers.show", "name"),
    "rate_limit": ("sources.index", None),
}


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the changes that fit, newest first where nothing else is asked for."""
    filters = _filters()
    sort = "at" if request.args.get("sort") == "at" else "-at"
    page = find_entries(db.session, filters, read_cursor(oldest_first=sort == "at"))
    return render(
        "audit/index.html",
        "audit/_table.html",
        page=page,
        filters=filters,
        sort=sort,
        subject_options=[(name, in_words(name)) for name in known_subjects(db.session)],
        action_options=[(name, in_words(name)) for name in known_actions(db.session)],
        page_of=page_of,
        in_words=in_words,
        **neighbours(page),
    )


@blueprint.get("/export.csv")
@requires(Role.VIEWER)
def export() -> Response:
    """Hand out the changes that fit as a file, newest first."""
    filename = f"audit-{now():%Y%m%d}.csv"
    return csv_answer(COLUMNS, row_batches(_filters()), filename=filename)


def page_of(entry: Entry) -> str | None:
    """Return the address of what an entry is about, where it has a page of its own."""
    if entry.subject not in PAGES:
        return None
    endpoint, argument = PAGES[entry.subject]
    values: dict[str, Any] = {argument: entry.name} if argument else {}
    return url_for(endpoint, **values)


def in_words(name: str) -> str:
    """Write ``flag.percentage_changed`` as a person would: ``Flag percentage changed``."""
    return name.replace(".", " ").replace("_", " ").capitalize()


def _filters() -> Filters:
    given = request.args
    return Filters(
        subject=given.get("subject", ""),
        name=given.get("name", ""),
        actor=given.get("actor", ""),
        action=given.get("action", ""),
        text=read_search(),
        since=_day(given.get("from", "")),
        until=_day(given.get("to", ""), days=1),
    )


def _day(text: str, *, days: int = 0) -> datetime | None:
    """Return when a day, or one so many days later, begins in UTC; no day narrows nothing."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None

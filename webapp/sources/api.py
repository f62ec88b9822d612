"""Sources over JSON: the same services as the pages, for programs."""

from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import MOST_ID, db
from webapp.errors import NotFound
from webapp.roles import Role
from webapp.sources import queries, service
from webapp.sources.definitions import draft_of
from webapp.sources.responses import (
    RecordPageResponse,
    RecordsQuery,
    RejectedQuery,
    RejectedRowResponse,
    SourceRemovalQuery,
    SourceResponse,
    SourceRunResponse,
    SourcesQuery,
    StartedRunResponse,
)
from webapp.sources.schemas import (
    NewSource,
    SourceUpdate,
    record_as_json,
    rejected_as_json,
    run_as_json,
    source_as_json,
)
from webapp.sources.values import SourceDraft
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor, read_search, url_with
from webapp.web.openapi import Collection, Page, PageQuery, describes
from webapp.web.requests import makes
from webapp.web.schemas import Removal, read_json, read_removal, read_whole

blueprint = Blueprint("sources_api", __name__, url_prefix="/api/v1/sources")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MOST_SKIPPED = 10_000


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Collection[SourceResponse]}, query=SourcesQuery)
def index() -> Response:
    """List sources by name, each with its last run."""
    text = read_search()
    skip = read_whole("skip", 0, 0, MOST_SKIPPED)
    found = queries.list_sources(db.session, text=text, skip=skip, limit=_limit())
    total = queries.count_sources(db.session, text=text)
    return json_answer({"items": [source_as_json(view) for view in found], "total": total})


@blueprint.post("")
@requires(Role.ADMIN)
@describes(
    {201: SourceResponse},
    body=NewSource,
    example={
        "name": "orders",
        "kind": "api",
        "location": "https://api.example.com/orders",
        "key_field": "id",
        "options": {"items": "data", "pagination": "page", "auth_env": "SOURCE_ORDERS_TOKEN"},
    },
)
@makes
def create() -> Response:
    """Add a source."""
    body = read_json(NewSource)
    update = SourceUpdate(options=body.options)
    source = service.create_source(
        db.session,
        body.name,
        kind=body.kind,
        location=body.location,
        key_field=body.key_field,
        options=update.applied_to(SourceDraft()).options,
        mapping=body.mapping,
        by=actor(),
        now=now(),
    )
    db.session.commit()
    response = _answer(source.name, 201)
    response.headers["Location"] = url_for("sources_api.show", name=source.name)
    return response


@blueprint.get("/<name>")
@requires(Role.VIEWER)
@describes({200: SourceResponse})
def show(name: str) -> Response:
    """Write one source with its last run."""
    return _answer(name)


@blueprint.patch("/<name>")
@requires(Role.ADMIN)
@describes({200: SourceResponse}, body=SourceUpdate)
def update(name: str) -> Response:
    """Change the fields given; a run that is under way begins anew."""
    body = read_json(SourceUpdate)
    source = service.find_source(db.session, name)
    service.change_source(
        db.session,
        name,
        body.applied_to(draft_of(source)),
        by=actor(),
        now=now(),
        reason=body.reason,
        version=body.version or source.version,
    )
    db.session.commit()
    return _answer(name)


@blueprint.delete("/<name>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=SourceRemovalQuery)
def delete(name: str) -> Response:
    """Remove a source with its records and runs; why stands in the body or the query."""
    wanted = read_removal()
    service.remove_source(
        db.session, name, by=actor(), now=now(), reason=wanted.reason, version=wanted.version
    )
    db.session.commit()
    return Response(status=204)


@blueprint.post("/<name>/run")
@requires(Role.OPERATOR)
@describes({202: StartedRunResponse})
@makes
def run(name: str) -> Response:
    """Begin a run: 202 with the address of its job, or of the one that is under way."""
    started = service.start_run(db.session, name, by=actor(), now=now())
    db.session.commit()
    response = json_answer({"job_id": started.job_id, "new": started.new}, 202)
    response.headers["Location"] = url_for("jobs_api.show", job_id=started.job_id)
    return response


@blueprint.get("/<name>/runs")
@requires(Role.VIEWER)
@describes({200: Page[SourceRunResponse]}, query=PageQuery)
def runs(name: str) -> Response:
    """List the runs of a source, newest first."""
    source = service.find_source(db.session, name)
    page = queries.runs_of(db.session, source, read_cursor(), size=_limit())
    return _page(page, [run_as_json(item) for item in page.rows])


@blueprint.get("/<name>/records")
@requires(Role.VIEWER)
@describes({200: RecordPageResponse}, query=RecordsQuery)
def records(name: str) -> Response:
    """List the records of a source by key; ``next`` is the address of those behind them."""
    source = service.find_source(db.session, name)
    size = _limit()
    after = request.args.get("after")
    found = queries.records_after(db.session, source, after, size + 1)
    more = len(found) > size
    return json_answer(
        {
            "items": [record_as_json(record) for record in found[:size]],
            "total": source.record_count,
            "next": url_with({"after": found[size - 1].key}) if more else None,
        }
    )


@blueprint.get("/<name>/rejected")
@requires(Role.VIEWER)
@describes({200: Page[RejectedRowResponse]}, query=RejectedQuery)
def rejected(name: str) -> Response:
    """List the rows that a run rejected, the newest run where none is named."""
    source = service.find_source(db.session, name)
    wanted = read_whole("run", 0, 0, min(MOST_ID, 10**10 - 1)) or None
    if wanted is not None and not queries.is_run_of(db.session, source, wanted):
        raise NotFound(f"There is no run {wanted} of {name}.")
    cursor = read_cursor(oldest_first=True)
    page = queries.rejected_page(db.session, source, wanted, cursor, size=_limit())
    return _page(page, [rejected_as_json(item) for item in page.rows])


def _limit() -> int:
    return read_whole("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)


def _page(page: Any, items: list[dict[str, Any]]) -> Response:
    links = neighbours(page)
    return json_answer(
        {
            "items": items,
            "total": page.total,
            "capped": page.capped,
            "next": links["next_url"],
            "previous": links["previous_url"],
        }
    )


def _answer(name: str, status: int = 200) -> Response:
    source = service.find_source(db.session, name)
    view = queries.SourceView(source, queries.latest_run(db.session, source))
    return json_answer(source_as_json(view), status)

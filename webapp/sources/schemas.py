"""Sources as JSON: the bodies that are read, and the answers."""

from dataclasses import asdict, replace
from typing import Any

from pydantic import Field

from webapp.logs import masked
from webapp.sources.definitions import draft_of
from webapp.sources.models import Record, RejectedRecord, Source
from webapp.sources.queries import RunView, SourceView
from webapp.sources.values import SourceDraft, SourceKind
from webapp.web.schemas import Schema, Text


class OptionsBody(Schema):
    """How a source is called over HTTP; what is left out stays, or is the default."""

    auth_env: Text | None = None
    auth_header: Text | None = None
    items: Text | None = None
    pagination: Text | None = None
    page_param: Text | None = None
    first_page: int | None = None
    size_param: Text | None = None
    page_size: int | None = None
    cursor_param: Text | None = None
    cursor_path: Text | None = None
    max_pages: int | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields that are given."""
        return self.model_dump(exclude_none=True)


class SourceUpdate(Schema):
    """The body that changes the fields given."""

    kind: Text | None = None
    location: Text | None = None
    key_field: Text | None = None
    options: OptionsBody | None = None
    mapping: dict[Text, Text] | None = None
    reason: Text = ""
    version: int | None = None

    def applied_to(self, draft: SourceDraft) -> SourceDraft:
        """Return the draft with the fields that are given."""
        plain = {
            name: value
            for name in ("kind", "location", "key_field", "mapping")
            if (value := getattr(self, name)) is not None
        }
        options = self.options.given() if self.options else {}
        return replace(draft, **plain, options=replace(draft.options, **options))


class NewSource(Schema):
    """The body that adds a source."""

    name: Text
    kind: Text = SourceKind.CSV
    location: Text
    key_field: Text
    options: OptionsBody | None = None
    mapping: dict[Text, Text] = Field(default_factory=dict)


def source_as_json(view: SourceView) -> dict[str, Any]:
    """Write a source with its last run."""
    source: Source = view.source
    limited = source.rate_limit is not None
    return {
        "name": source.name,
        "kind": source.kind,
        "location": masked(source.location),
        "key_field": source.key_field,
        "options": asdict(draft_of(source).options),
        "mapping": source.mapping,
        "rate_limit": {"calls": source.rate_limit, "seconds": source.rate_window}
        if limited
        else None,
        "record_count": source.record_count,
        "version": source.version,
        "created_at": source.created_at,
        "last_run": run_as_json(view.last_run) if view.last_run else None,
    }


def run_as_json(run: RunView) -> dict[str, Any]:
    """Write one run; sizes in bytes."""
    return {
        "id": run.id,
        "source": run.source,
        "job_id": run.job_id,
        "status": run.status,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "processed": run.processed,
        "inserted": run.inserted,
        "updated": run.updated,
        "unchanged": run.unchanged,
        "rejected": run.rejected,
        "drift": run.drift,
        "bytes_read": run.bytes_read,
        "bytes_total": run.bytes_total,
        "pages": run.pages,
    }


def record_as_json(record: Record) -> dict[str, Any]:
    """Write one record; ``mapped`` is null where the source maps nothing."""
    return {
        "key": record.key,
        "raw": masked(record.raw),
        "mapped": None if record.mapped is None else masked(record.mapped),
        "first_seen_at": record.first_seen_at,
        "last_seen_at": record.last_seen_at,
        "run_id": record.run_id,
    }


def rejected_as_json(rejected: RejectedRecord) -> dict[str, Any]:
    """Write one row that became no record."""
    return {
        "id": rejected.id,
        "run_id": rejected.run_id,
        "line": rejected.line,
        "error": rejected.error,
        "text": masked(rejected.text),
    }

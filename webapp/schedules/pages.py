"""The pages of schedules: the list, one schedule, and the forms that make and change one.

Every form works as a plain one; where htmx sends it, only its part of the page comes back.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.audit.values import Entry
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, Invalid
from webapp.jobs.registry import job_types
from webapp.roles import Role
from webapp.schedules import service
from webapp.schedules.firing import run_schedule
from webapp.schedules.forms import CATCH_UPS, KINDS, OVERLAPS, ScheduleForm, form_of
from webapp.schedules.models import Schedule
from webapp.schedules.queries import (
    PAGE_SIZE,
    LocalTime,
    ScheduleFilters,
    firings_of,
    list_schedules,
    next_runs,
    view_schedule,
)
from webapp.schedules.timing import DAYS, in_words, zones
from webapp.schedules.values import ScheduleState
from webapp.web.access import actor, requires
from webapp.web.confirmations import Confirmation, act, asking
from webapp.web.cursors import read_search, read_skip
from webapp.web.htmx import done, go_to, refused_status, render

blueprint = Blueprint("schedules", __name__, url_prefix="/schedules")

HISTORY: Final = 20
FIRINGS: Final = 20
PREVIEWED: Final = 5
# The history holds more than the changes of a version.
_RAN: Final = "schedule.ran"


@dataclass(frozen=True, slots=True)
class Preview:
    """When what is typed would be due, or why that cannot be said."""

    words: str = ""
    runs: tuple[LocalTime, ...] = ()
    errors: tuple[str, ...] = ()


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the schedules that the filters in the URL ask for."""
    filters = ScheduleFilters(read_search(), request.args.get("state", ""))
    found = list_schedules(db.session, filters, now=now(), skip=read_skip())
    return render(
        "schedules/index.html",
        "schedules/_table.html",
        filters=filters,
        found=found,
        states=list(ScheduleState),
        page_size=PAGE_SIZE,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a schedule to be made, filled in as far as a link does."""
    return _form_page(ScheduleForm.read(request.args, ScheduleForm().days), None)


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the schedule that was typed."""
    form = _typed()
    try:
        schedule = service.create_schedule(
            db.session, form.draft(), by=actor(), now=now(), reason=form.reason
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _form_page(_refused(form, error, taken="name"), None, status=refused_status(error))
    return go_to(url_for("schedules.show", name=schedule.name), f"{schedule.name} is made.")


@blueprint.post("/preview")
@requires(Role.ADMIN)
def preview_new() -> Response:
    """Show when the schedule that is being made would be due."""
    return _form_page(_typed(), None)


@blueprint.get("/<name>")
@requires(Role.VIEWER)
def show(name: str) -> Response:
    """Show one schedule: when it is due, what became of the last due times, and its history."""
    schedule = service.find_schedule(db.session, name)
    return render(
        "schedules/show.html",
        "schedules/_activity.html",
        schedule=view_schedule(db.session, schedule, now=now(), runs=PREVIEWED),
        firings=firings_of(db.session, schedule, FIRINGS),
        entries=[in_short(item) for item in history(db.session, "schedule", name, HISTORY)],
    )


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of a schedule to be changed."""
    schedule = service.find_schedule(db.session, name)
    return _form_page(form_of(service.draft_of(schedule), schedule.version), schedule)


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save what was typed."""
    form = replace(_typed(), name=name)
    try:
        service.change_schedule(
            db.session,
            form.draft(),
            by=actor(),
            now=now(),
            reason=form.reason,
            version=form.based_on(),
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        form, meanwhile = _overtaken(name, _refused(form, error), error)
        schedule = service.find_schedule(db.session, name)
        return _form_page(form, schedule, meanwhile=meanwhile, status=refused_status(error))
    return go_to(url_for("schedules.show", name=name), f"{name} is saved.")


@blueprint.post("/<name>/preview")
@requires(Role.ADMIN)
def preview(name: str) -> Response:
    """Show when the schedule that is being changed would be due."""
    return _form_page(replace(_typed(), name=name), service.find_schedule(db.session, name))


@blueprint.post("/<name>/run")
@requires(Role.OPERATOR)
def run(name: str) -> BaseResponse:
    """Run a schedule now."""
    job_id = run_schedule(db.session, name, by=actor(), now=now()).job_id
    db.session.commit()
    return done(f"Job {job_id} runs {name}.", url=url_for("schedules.show", name=name))


@blueprint.post("/<name>/pause")
@requires(Role.ADMIN)
def pause(name: str) -> BaseResponse:
    """Stop a schedule from firing."""
    asked = asking(f"Pause {name}?", "It does not run until it is resumed.", "Pause schedule")
    return _act(asked, name, f"{name} is paused.", service.pause_schedule)


@blueprint.post("/<name>/resume")
@requires(Role.ADMIN)
def resume(name: str) -> BaseResponse:
    """Let a schedule fire again."""
    asked = asking(
        f"Resume {name}?",
        "It runs at its next due time; those that passed meanwhile are not made up.",
        "Resume schedule",
    )
    return _act(asked, name, f"{name} is resumed.", service.resume_schedule)


@blueprint.post("/<name>/remove")
@requires(Role.ADMIN)
def remove(name: str) -> BaseResponse:
    """Remove a schedule for good."""
    asked = asking(
        f"Remove {name}?",
        "It runs no more. Its jobs stay, and the audit keeps its last state.",
        "Remove schedule",
    )
    return _act(asked, name, f"{name} is removed.", service.remove_schedule, gone=True)


def _typed() -> ScheduleForm:
    return ScheduleForm.read(request.form, request.form.getlist("days"))


def _form_page(
    form: ScheduleForm,
    schedule: Schedule | None,
    *,
    meanwhile: tuple[Entry, ...] = (),
    status: int = 200,
) -> Response:
    return render(
        "schedules/edit.html" if schedule else "schedules/new.html",
        "schedules/_form.html",
        "schedules/_preview.html",
        status=status,
        form=form,
        schedule=schedule,
        preview=_preview(form),
        meanwhile=[in_short(entry) for entry in meanwhile],
        types=_types(form.type),
        kinds=KINDS,
        weekdays=[(day, day.capitalize()) for day in DAYS],
        overlaps=OVERLAPS,
        catch_ups=CATCH_UPS,
        zones=sorted(zones()),
    )


def _types(chosen: str) -> list[tuple[str, str]]:
    """Return the types to choose from; one that is gone must not turn into another by itself."""
    open_types = [kind for kind in job_types() if not kind.internal]
    types = [(kind.name, f"{kind.name}: {kind.description}") for kind in open_types]
    known = {name for name, _ in types}
    gone = [(chosen, f"{chosen}: no longer there")] if chosen and chosen not in known else []
    return gone + types


def _preview(form: ScheduleForm) -> Preview:
    try:
        cron, zone = form.timing()
    except Invalid as error:
        return Preview(errors=tuple(text for texts in error.errors.values() for text in texts))
    runs = tuple(next_runs(cron, zone, now(), PREVIEWED))
    errors = () if runs else ("It never comes due.",)
    return Preview(in_words(cron), runs, errors)


def _overtaken(
    name: str, form: ScheduleForm, error: DomainError
) -> tuple[ScheduleForm, tuple[Entry, ...]]:
    """Return the form at the present version, and what others changed meanwhile.

    Who has read what changed may save over it.
    """
    started = form.based_on()
    if not isinstance(error, Conflict) or started is None:
        return form, ()
    present = service.find_schedule(db.session, name).version
    # Each change is one version and one entry.
    changes = [
        entry for entry in history(db.session, "schedule", name, HISTORY) if entry.action != _RAN
    ]
    return replace(form, version=str(present)), tuple(changes[: max(0, present - started)])


def _refused(form: ScheduleForm, error: DomainError, taken: str = "") -> ScheduleForm:
    """Put the messages of a refusal at their fields."""
    db.session.rollback()
    if isinstance(error, Invalid):
        return replace(form, errors=error.errors)
    return replace(form, errors={taken: [error.detail]}) if taken else form


def _act(
    asked: Confirmation, name: str, text: str, verb: Callable[..., object], *, gone: bool = False
) -> BaseResponse:
    url = url_for("schedules.index") if gone else url_for("schedules.show", name=name)
    return act(
        asked,
        text,
        url=url,
        verb=lambda by, at: verb(db.session, name, by=by, now=at, reason=asked.reason),
    )

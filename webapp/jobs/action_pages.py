"""What is done to jobs by a button: to one, to those selected, or to all that match."""

from dataclasses import dataclass, field, replace
from typing import Final

from flask import request, url_for
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import MOST_ID, db
from webapp.errors import FieldErrors, Forbidden, Invalid, NotFound
from webapp.jobs import service
from webapp.jobs.bulk import BulkAction, Order, samples, survey
from webapp.jobs.filters import JobFilters
from webapp.jobs.orders import Given, give
from webapp.jobs.pages import blueprint, may_do
from webapp.jobs.values import JobState
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.cursors import url_with
from webapp.web.htmx import done, render

SAMPLES: Final = 10
# An action as a person says it of jobs, and what became of those to which it was done.
WORDS: Final = {
    BulkAction.RETRY: ("Retry", "queued again"),
    BulkAction.RUN_NOW: ("Run", "queued"),
    BulkAction.CANCEL: ("Cancel", "canceled, or asked to stop"),
    BulkAction.REPRIORITIZE: ("Change the priority of", "given their new priority"),
}
MEANINGS: Final = {
    BulkAction.RETRY: "They run again from their last checkpoint, with a fresh budget of attempts.",
    BulkAction.RUN_NOW: "They are due at once instead of at their time.",
    BulkAction.CANCEL: "Waiting ones end at once, running ones at their next checkpoint. "
    "What they have written stays.",
    BulkAction.REPRIORITIZE: "Workers take the highest first.",
}


@blueprint.post("/<int:job_id>/retry")
@requires(Role.OPERATOR)
def retry(job_id: int) -> Response:
    """Run a dead or canceled job again, or a waiting one at once."""
    job = service.retry(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    return done(f"Job {job.id} is queued again.", url=url_for("jobs.show", job_id=job_id))


@blueprint.post("/<int:job_id>/cancel")
@requires(Role.ADMIN)
def cancel(job_id: int) -> Response:
    """Cancel a waiting job, or ask a running one to stop."""
    job = service.cancel(db.session, job_id, by=actor(), now=now())
    db.session.commit()
    told = "was canceled" if job.state == JobState.CANCELED else "was asked to stop"
    return done(f"Job {job.id} {told}.", url=url_for("jobs.show", job_id=job_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkForm:
    """An order as it was sent; ``all`` means those of the filters, else those of ``ids``."""

    order: Order
    all: bool
    priority: str = ""
    reason: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """Return what the confirmation repeats."""
        order = self.order
        kept = [("action", order.action.value), ("scope", "all" if self.all else "selected")]
        kept += [("id", str(job_id)) for job_id in order.ids]
        return kept + list(order.filters.given().items())


@blueprint.get("/bulk")
@requires(Role.OPERATOR)
def preview() -> Response:
    """Show what would be done to which jobs, and ask."""
    form = _read()
    if not form.all and not form.order.ids:
        return done("No job is selected.", url=url_for("jobs.index"), tone="warning")
    return _confirmation(form)


@blueprint.post("/bulk")
@requires(Role.OPERATOR)
def bulk() -> Response:
    """Do it: at once to few, by a job to many."""
    form = _read()
    try:
        order = replace(form.order, priority=_priority(form.priority)).checked()
        if not form.all and not order.ids:
            raise Invalid.field("ids", "No job is selected.")
        given = give(db.session, order, by=actor(), now=now(), reason=form.reason)
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        return _confirmation(replace(form, errors=error.errors), status=422)
    return _told(order, given)


def _read() -> BulkForm:
    """Read an order from the query or the form; :class:`Forbidden` where the role does not do."""
    sent = request.values
    try:
        action = BulkAction(sent.get("action", ""))
    except ValueError:
        raise NotFound(f"There is no such action; there are {', '.join(BulkAction)}.") from None
    if not may_do(action):
        raise Forbidden("To cancel jobs needs the role admin.")
    everything = sent.get("scope") == "all"
    ids = [] if everything else sorted(set(sent.getlist("id", type=_row_id)))
    order = Order(
        action=action,
        ids=ids,
        filters=JobFilters.read(sent) if everything else JobFilters(),
        until=sent.get("until", type=_row_id),
    )
    return BulkForm(
        order=order,
        all=everything,
        priority=sent.get("priority", ""),
        reason=sent.get("reason", ""),
    )


def _confirmation(form: BulkForm, *, status: int = 200) -> Response:
    found = survey(db.session, form.order)
    return render(
        "jobs/bulk.html",
        status=status,
        form=form,
        found=found,
        samples=samples(db.session, form.order, SAMPLES),
        verb=WORDS[form.order.action][0],
        meaning=MEANINGS[form.order.action],
        destructive=form.order.action == BulkAction.CANCEL,
        asks_priority=form.order.action == BulkAction.REPRIORITIZE,
        back=list_url(form.order.filters),
    )


def _told(order: Order, given: Given) -> Response:
    became = WORDS[order.action][1]
    if given.job_id is not None:
        url = url_for("jobs.show", job_id=given.job_id)
        return done(f"Job {given.job_id} does it: see its progress here.", url=url)
    told = f"{given.done:,} job{'s are' if given.done != 1 else ' is'} {became}."
    if given.refusals:
        first = given.refusals[0]
        told += f" {len(given.refusals):,} refused; the first: {first.why}"
    tone = "success" if not given.refusals else "warning"
    return done(told, url=list_url(order.filters), tone=tone)


def list_url(filters: JobFilters) -> str:
    """Return the address of the list that these filters give."""
    given = filters.given()
    text = given.pop("text", None)
    kept = dict.fromkeys(request.args)
    return url_with(kept | given | {"q": text}, url_for("jobs.index"))


def _priority(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= len("100")):
        raise Invalid.field("priority", "A whole number from 0 to 100.")
    return int(text)


def _row_id(text: str) -> int:
    value = int(text[:20])
    if not 0 < value <= MOST_ID:
        raise ValueError(text)
    return value

"""The page Job types: what there is, what is paused, and how often each type is tried again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from flask import request, url_for
from werkzeug.wrappers import Response

from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, FieldErrors, Invalid
from webapp.health.service import read_types
from webapp.jobs import control, queries
from webapp.jobs.control import BOUNDS, PolicyDraft
from webapp.jobs.models import JobTypeSetting
from webapp.jobs.pages import blueprint
from webapp.jobs.registry import JobType, find_job_type, job_types
from webapp.jobs.steering import read_steering
from webapp.reasons import checked_reason
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.htmx import go_to, refused_status, render
from webapp.web.requests import current_settings

HISTORY: Final = 20
LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "max_retries": ("Retries", "How often it is tried again"),
    "initial_delay": ("First delay", "Seconds before the first retry"),
    "backoff_factor": ("Factor", "By which each delay is longer than the one before"),
    "max_delay": ("Longest delay", "Seconds"),
    "jitter": ("Jitter", "Share by which a delay varies: 0.25 is a quarter"),
    "timeout": ("Time limit", "Seconds that one attempt may take"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyForm:
    """The policy of a type as texts; an empty one means the type's own."""

    values: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    version: int = 0
    errors: FieldErrors = field(default_factory=dict)

    def draft(self) -> PolicyDraft:
        """Return the policy that was typed; :class:`Invalid` with all that cannot be read."""
        values: dict[str, Any] = {}
        errors: dict[str, list[str]] = {}
        for name in LABELS:
            text = self.values.get(name, "").strip()
            try:
                values[name] = _number(name, text) if text else None
            except ValueError:
                least, most = BOUNDS[name]
                errors[name] = [f"A number from {least:,.0f} to {most:,.0f}."]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return PolicyDraft(**values)


def _number(name: str, text: str) -> float:
    # No policy has more digits; reading thousands of them would be work.
    text = text[:20]
    return int(text) if name == "max_retries" else float(text)


@blueprint.get("/types")
@requires(Role.VIEWER)
def types() -> Response:
    """List the types of job and the queues, with what is paused."""
    steering = read_steering(db.session)
    names = {kind.queue for kind in job_types()} | set(queries.queue_names(db.session))
    paused = control.find_paused_queues(db.session)
    return render(
        "jobs/types.html",
        "jobs/_types.html",
        kinds=[(kind, steering.applied_to(kind)) for kind in job_types()],
        settings=control.find_settings(db.session),
        verdicts=read_types(db.session, now=now(), has_workers=current_settings().has_workers),
        queues=[(name, paused.get(name)) for name in sorted(names | paused.keys())],
    )


@blueprint.get("/types/<name>")
@requires(Role.VIEWER)
def policy(name: str) -> Response:
    """Show how often and how soon a type is tried again."""
    kind = find_job_type(name)
    return _policy_page(kind, _form_of(control.find_setting(db.session, name)))


@blueprint.post("/types/<name>")
@requires(Role.ADMIN)
def set_policy(name: str) -> Response:
    """Save the policy that was typed."""
    kind = find_job_type(name)
    form = _typed()
    try:
        control.set_policy(
            db.session,
            name,
            form.draft(),
            version=form.version,
            by=actor(),
            now=now(),
            reason=form.reason,
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        db.session.rollback()
        return _refused(kind, form, error)
    return go_to(url_for("jobs.policy", name=name), f"The policy of {name} is saved.")


@blueprint.post("/types/<name>/pause")
@requires(Role.OPERATOR)
def pause_type(name: str) -> Response:
    """Let no job of a type begin."""
    asked = asking(f"Pause {name}?", "Its jobs wait until it is resumed.", "Pause type")
    return act(
        asked,
        f"{name} is paused.",
        url=url_for("jobs.types"),
        verb=_with_reason(control.pause_type, name, asked.reason),
    )


@blueprint.post("/types/<name>/resume")
@requires(Role.OPERATOR)
def resume_type(name: str) -> Response:
    """Let the jobs of a type begin again."""
    asked = asking(f"Resume {name}?", "Its jobs begin again.", "Resume type")
    return act(
        asked,
        f"{name} is resumed.",
        url=url_for("jobs.types"),
        verb=lambda by, at: control.resume_type(db.session, name, by=by, now=at),
    )


@blueprint.post("/queues/<name>/pause")
@requires(Role.OPERATOR)
def pause_queue(name: str) -> Response:
    """Let no job of a queue begin."""
    text = "Its jobs wait until it is resumed; those that run go on."
    asked = asking(f"Pause the queue {name}?", text, "Pause queue")
    return act(
        asked,
        f"The queue {name} is paused.",
        url=url_for("jobs.types"),
        verb=_with_reason(control.pause_queue, name, asked.reason),
    )


@blueprint.post("/queues/<name>/resume")
@requires(Role.OPERATOR)
def resume_queue(name: str) -> Response:
    """Let the jobs of a queue begin again."""
    asked = asking(f"Resume the queue {name}?", "Its jobs begin again.", "Resume queue")
    return act(
        asked,
        f"The queue {name} is resumed.",
        url=url_for("jobs.types"),
        verb=lambda by, at: control.resume_queue(db.session, name, by=by, now=at),
    )


def _with_reason(verb: Callable[..., object], name: str, reason: str) -> Callable[..., object]:
    """Pause only where it was said why: others will want to know."""

    def pause(by: Any, at: Any) -> object:
        return verb(db.session, name, by=by, now=at, reason=checked_reason(reason))

    return pause


def _form_of(setting: JobTypeSetting | None) -> PolicyForm:
    if setting is None:
        return PolicyForm()
    given = {name: getattr(setting, name) for name in LABELS}
    values = {name: f"{value:.12g}" for name, value in given.items() if value is not None}
    return PolicyForm(values=values, version=setting.version)


def _typed() -> PolicyForm:
    return PolicyForm(
        values={name: request.form.get(name, "") for name in LABELS},
        reason=request.form.get("reason", ""),
        version=max(0, request.form.get("version", 0, type=_version)),
    )


def _version(text: str) -> int:
    return int(text[:9])


def _refused(kind: JobType, form: PolicyForm, error: Invalid | Conflict) -> Response:
    """Answer with what was typed; who has seen what changed meanwhile may save over it."""
    status = refused_status(error)
    if isinstance(error, Invalid):
        return _policy_page(kind, replace(form, errors=error.errors), status=status)
    present = control.find_setting(db.session, kind.name)
    form = replace(form, version=present.version if present else 0)
    return _policy_page(kind, form, status=status, problem=error.detail)


def _policy_page(
    kind: JobType, form: PolicyForm, *, status: int = 200, problem: str = ""
) -> Response:
    own = {name: getattr(kind.policy, name, None) for name in LABELS} | {"timeout": kind.timeout}
    return render(
        "jobs/policy.html",
        "jobs/_policy.html",
        status=status,
        kind=kind,
        form=form,
        own=own,
        labels=LABELS,
        problem=problem,
        in_force=read_steering(db.session).applied_to(kind),
        setting=control.find_setting(db.session, kind.name),
        entries=[in_short(item) for item in history(db.session, "job_type", kind.name, HISTORY)],
    )

"""What is done to a flag by one button: rollout, switch, archive, restore, remove for good."""

from dataclasses import replace

from flask import request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, Invalid
from webapp.flags import rollouts, service
from webapp.flags.disputes import Overtaken, missed
from webapp.flags.forms import FlagForm, form_of
from webapp.flags.pages import blueprint, flag_page
from webapp.flags.presentation import resuming
from webapp.flags.queries import get_flag
from webapp.flags.refusals import refused
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import Confirmation, act, asking
from webapp.web.htmx import done, refused_status, wants_part, with_toast


@blueprint.post("/<name>/rollout")
@requires(Role.OPERATOR)
def rollout(name: str) -> BaseResponse:
    """Save the percentage that was chosen."""
    form = FlagForm.read(request.form)
    try:
        flag = service.change_flag(
            db.session,
            name,
            form.rollout(),
            by=actor(),
            now=now(),
            reason=form.reason,
            version=form.based_on(),
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _rollout_refused(name, form, error)
    text = f"{name} is at {flag.percentage:g} %."
    if not wants_part():
        return done(text, url=url_for("flags.show", name=name))
    return with_toast(flag_page(flag, form_of(service.draft_of(flag), flag.version)), text)


def _rollout_refused(name: str, form: FlagForm, error: DomainError) -> BaseResponse:
    """Answer with what was typed; who has read what changed meanwhile may save over it."""
    typed = replace(refused(form, error), name=name)
    flag = get_flag(db.session, name)
    if not isinstance(error, Conflict) or form.based_on() is None:
        return flag_page(flag, typed, status=refused_status(error))
    overtaken = Overtaken("flag", name, flag.version, form.based_on())
    meanwhile = tuple(missed(db.session, overtaken))
    typed = replace(typed, version=str(flag.version))
    return flag_page(flag, typed, status=refused_status(error), meanwhile=meanwhile)


@blueprint.post("/<name>/switch")
@requires(Role.OPERATOR)
def switch(name: str) -> BaseResponse:
    """Work the kill switch."""
    enabled = request.form.get("enabled") == "1"
    word = "on" if enabled else "off"
    asked = asking(
        f"Turn {name} {word}?",
        "Its rollout, lists and overrides count again."
        if enabled
        else "It is off for everybody at once, whatever else is set.",
        f"Turn {word}",
        enabled="1" if enabled else "0",
    )
    return act(
        asked,
        f"{name} is {word}.",
        url=url_for("flags.show", name=name),
        verb=lambda by, at: service.switch_flag(
            db.session, name, enabled=enabled, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<name>/rollout/pause")
@requires(Role.OPERATOR)
def pause(name: str) -> BaseResponse:
    """Have a plan take no more steps."""
    asked = asking(
        f"Pause the rollout of {name}?",
        "Its share stays. The steps ahead wait, and move back by as long as it is paused.",
        "Pause rollout",
    )
    return _move(name, asked, "is paused", rollouts.PAUSE)


@blueprint.post("/<name>/rollout/resume")
@requires(Role.OPERATOR)
def resume(name: str) -> BaseResponse:
    """Have a plan that was stopped go on."""
    asked = asking(
        f"Resume the rollout of {name}?", resuming(get_flag(db.session, name).rollout()), "Resume"
    )
    return _move(name, asked, "goes on", rollouts.RESUME)


@blueprint.post("/<name>/rollout/skip")
@requires(Role.OPERATOR)
def skip(name: str) -> BaseResponse:
    """Have a plan take its next step now."""
    asked = asking(
        f"Take {name} to its next step now?",
        "The step is taken before its time. The steps behind it keep theirs.",
        "Skip to the next step",
    )
    return _move(name, asked, "took its next step", rollouts.SKIP)


@blueprint.post("/<name>/rollout/roll-back")
@requires(Role.OPERATOR)
def roll_back(name: str) -> BaseResponse:
    """Go back to the share of the step before."""
    back = get_flag(db.session, name).rollout().percentage_before
    asked = asking(
        f"Roll {name} back to {back:g} %?",
        "It takes no step until somebody resumes.",
        "Roll back",
    )
    return _move(name, asked, "is rolled back", rollouts.ROLL_BACK)


def _move(name: str, asked: Confirmation, done_: str, how: rollouts.Move) -> BaseResponse:
    return act(
        asked,
        f"The rollout of {name} {done_}.",
        url=url_for("flags.show", name=name),
        verb=lambda by, at: rollouts.move_by_hand(
            db.session, name, how, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<name>/archive")
@requires(Role.ADMIN)
def archive(name: str) -> BaseResponse:
    """Take a flag out of use."""
    asked = asking(
        f"Archive {name}?",
        "Whoever asks for it is told that it is unknown, so off.",
        "Archive flag",
    )
    return act(
        asked,
        f"{name} is archived.",
        url=url_for("flags.index"),
        verb=lambda by, at: service.archive_flag(
            db.session, name, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<name>/restore")
@requires(Role.ADMIN)
def restore(name: str) -> BaseResponse:
    """Bring an archived flag back."""
    asked = asking(f"Restore {name}?", "It decides again as it did before.", "Restore flag")
    return act(
        asked,
        f"{name} is back.",
        url=url_for("flags.show", name=name),
        verb=lambda by, at: service.restore_flag(
            db.session, name, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<name>/purge")
@requires(Role.ADMIN)
def purge(name: str) -> BaseResponse:
    """Remove an archived flag for good."""
    asked = asking(
        f"Remove {name} for good?",
        "It cannot be restored. The audit keeps its history and its last state.",
        "Remove for good",
    )
    return act(
        asked,
        f"{name} is removed.",
        url=url_for("flags.index"),
        verb=lambda by, at: service.purge_flag(
            db.session, name, by=by, now=at, reason=asked.reason
        ),
    )

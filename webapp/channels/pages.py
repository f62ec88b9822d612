"""The pages of channels: the list, and the forms that make and change one."""

from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.channels import service
from webapp.channels.forms import ChannelForm
from webapp.channels.queries import ChannelView, list_channels, view_channel
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, DomainError, Invalid
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.cursors import read_search
from webapp.web.htmx import go_to, refused_status, render
from webapp.web.requests import current_settings

blueprint = Blueprint("channels", __name__, url_prefix="/channels")

HISTORY = 20


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the channels."""
    text = read_search()
    return render(
        "channels/index.html",
        "channels/_table.html",
        channels=list_channels(db.session, secret_key=current_settings().secret_key, text=text),
        q=text,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of a channel to be made."""
    return _new_page(ChannelForm())


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Make the channel that was typed."""
    form = ChannelForm.read(request.form)
    try:
        service.create_channel(
            db.session,
            form.draft(),
            secret_key=current_settings().secret_key,
            by=actor(),
            now=now(),
            reason=form.reason,
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        return _new_page(_refused(form, error, "name"), status=refused_status(error))
    return go_to(url_for("channels.index"), f"{form.name} is made.")


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of a channel to be changed."""
    view = _view(name)
    form = ChannelForm(name=name, enabled=view.enabled, version=str(view.version))
    return _edit_page(form, view)


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save what was typed."""
    form = replace(ChannelForm.read(request.form), name=name)
    try:
        service.change_channel(
            db.session,
            form.draft(),
            secret_key=current_settings().secret_key,
            by=actor(),
            now=now(),
            reason=form.reason,
            version=form.based_on(),
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        form = _refused(form, error, "version")
        view = _view(name)
        # Whoever has read that it changed may save over it.
        form = replace(form, version=str(view.version))
        return _edit_page(form, view, status=refused_status(error))
    return go_to(url_for("channels.index"), f"{name} is saved.")


@blueprint.post("/<name>/test")
@requires(Role.OPERATOR)
def test(name: str) -> BaseResponse:
    """Send a test message."""
    job_id = service.send_test(db.session, name, by=actor(), now=now())
    db.session.commit()
    # Whether it arrived is seen there.
    return go_to(url_for("jobs.show", job_id=job_id), f"This job sends a test to {name}.")


@blueprint.post("/<name>/remove")
@requires(Role.ADMIN)
def remove(name: str) -> BaseResponse:
    """Remove a channel for good."""
    asked = asking(
        f"Remove the channel {name}?",
        "Its address is deleted, and messages that still wait for it become dead letters.",
        "Remove channel",
    )
    return act(
        asked,
        f"{name} is removed.",
        url=url_for("channels.index"),
        verb=lambda by, at: service.remove_channel(
            db.session, name, by=by, now=at, reason=asked.reason
        ),
    )


def _new_page(form: ChannelForm, *, status: int = 200) -> Response:
    return render(
        "channels/new.html", "channels/_form.html", status=status, form=form, channel=None
    )


def _edit_page(form: ChannelForm, view: ChannelView, *, status: int = 200) -> Response:
    entries = history(db.session, "channel", view.name, HISTORY)
    return render(
        "channels/edit.html",
        "channels/_form.html",
        status=status,
        form=form,
        channel=view,
        entries=[in_short(entry) for entry in entries],
    )


def _view(name: str) -> ChannelView:
    channel = service.find_channel(db.session, name)
    return view_channel(channel, secret_key=current_settings().secret_key)


def _refused(form: ChannelForm, error: DomainError, place: str) -> ChannelForm:
    """Put the messages of a refusal at their fields."""
    db.session.rollback()
    if isinstance(error, Invalid):
        return replace(form, errors=error.errors)
    return replace(form, errors={place: [error.detail]})

"""The pages of people, for admins: the list, one account, and the forms that make and change one.

A password that was made up is shown by the answer that made it, and nowhere else.
"""

from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.accounts import administration
from webapp.accounts.forms import ROLES, UserForm, errors_at
from webapp.accounts.queries import (
    UserFilters,
    count_sessions,
    find_users,
    sessions_of,
    view_user,
)
from webapp.accounts.service import create_user
from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, Invalid
from webapp.paging import COUNT_CAP, PAGE_SIZE
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import shown_once
from webapp.web.confirmations import act, asking
from webapp.web.cursors import read_search, read_skip
from webapp.web.htmx import done, refused_status, render

blueprint = Blueprint("users", __name__, url_prefix="/settings/users")

HISTORY = 20
ACTIVE = {"active": True, "inactive": False}


@blueprint.get("")
@requires(Role.ADMIN)
def index() -> Response:
    """List the accounts that the filters in the URL ask for."""
    role, state = request.args.get("role", ""), request.args.get("state", "")
    filters = UserFilters(read_search(), role if role in set(Role) else "", ACTIVE.get(state))
    found = find_users(db.session, filters, skip=read_skip())
    return render(
        "users/index.html",
        "users/_table.html",
        filters=filters,
        state=state,
        found=found,
        roles=ROLES,
        page_size=PAGE_SIZE,
        cap=COUNT_CAP,
    )


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form of an account to be made."""
    return render("users/new.html", form=UserForm(), roles=ROLES)


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> Response:
    """Make the account that was typed, and show its password where that was made up."""
    form = UserForm.read(request.form)
    given = request.form.get("password", "")
    password = given or administration.made_up_password()
    try:
        user = create_user(
            db.session, form.username, password=password, role=form.chosen(), by=actor(), now=now()
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        form = _refused(form, error, place="username")
        return render("users/new.html", status=refused_status(error), form=form, roles=ROLES)
    text = f"{user.username} may sign in as {user.role}."
    return _password_page(user.id, text, None if given else password, status=201)


@blueprint.get("/<int:user_id>")
@requires(Role.ADMIN)
def show(user_id: int) -> Response:
    """Show one account: what it may do, what can be done with it, and its history."""
    return _user_page(user_id, UserForm())


@blueprint.post("/<int:user_id>/role")
@requires(Role.ADMIN)
def change_role(user_id: int) -> BaseResponse:
    """Give an account another role."""
    form = UserForm.read(request.form, about="role")
    try:
        user = administration.change_user(
            db.session, user_id, role=form.chosen(), by=actor(), now=now(), reason=form.reason
        )
        text = f"{user.username} is {user.role} now."
        db.session.commit()
    except (Invalid, Conflict) as error:
        form = _refused(form, error, place="role")
        return _user_page(user_id, form, status=refused_status(error))
    return done(text, url=url_for("accounts.users.show", user_id=user_id))


@blueprint.post("/<int:user_id>/password")
@requires(Role.ADMIN)
def reset_password(user_id: int) -> Response:
    """Give an account another password, and show it where it was made up."""
    form = UserForm.read(request.form, about="password")
    given = request.form.get("password", "")
    try:
        password = administration.reset_password(
            db.session, user_id, by=actor(), now=now(), reason=form.reason, password=given
        )
        name = view_user(db.session, user_id).username
        db.session.commit()
    except Invalid as error:
        form = _refused(form, error, place="password")
        return _user_page(user_id, form, status=refused_status(error))
    text = f"{name} has a new password, and is signed out everywhere."
    return _password_page(user_id, text, None if given else password)


@blueprint.post("/<int:user_id>/deactivate")
@requires(Role.ADMIN)
def deactivate(user_id: int) -> BaseResponse:
    """Let an account act no more."""
    name = view_user(db.session, user_id).username
    asked = asking(
        f"Deactivate {name}?",
        "Their sessions end and they cannot sign in. API tokens that they made stay good.",
        "Deactivate account",
    )
    return act(
        asked,
        f"{name} is deactivated.",
        url=url_for("accounts.users.show", user_id=user_id),
        verb=lambda by, at: administration.change_user(
            db.session, user_id, active=False, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<int:user_id>/reactivate")
@requires(Role.ADMIN)
def reactivate(user_id: int) -> BaseResponse:
    """Let an account act again."""
    name = view_user(db.session, user_id).username
    asked = asking(
        f"Reactivate {name}?", "They can sign in again, as before.", "Reactivate account"
    )
    return act(
        asked,
        f"{name} is active again.",
        url=url_for("accounts.users.show", user_id=user_id),
        verb=lambda by, at: administration.change_user(
            db.session, user_id, active=True, by=by, now=at, reason=asked.reason
        ),
    )


@blueprint.post("/<int:user_id>/end-sessions")
@requires(Role.ADMIN)
def sign_out(user_id: int) -> BaseResponse:
    """End all sessions of an account."""
    name = view_user(db.session, user_id).username
    asked = asking(
        f"Sign {name} out everywhere?",
        "All their sessions end at once, and their access tokens are void.",
        "Sign out everywhere",
    )
    return act(
        asked,
        f"{name} is signed out everywhere.",
        url=url_for("accounts.users.show", user_id=user_id),
        verb=lambda by, at: administration.sign_out(
            db.session, user_id, by=by, now=at, reason=asked.reason
        ),
    )


def _refused(form: UserForm, error: Invalid | Conflict, *, place: str) -> UserForm:
    """Put the messages of a refusal at their fields, one that has none at ``place``."""
    db.session.rollback()
    return replace(form, errors=errors_at(error, place))


def _user_page(user_id: int, form: UserForm, status: int = 200) -> Response:
    user, at = view_user(db.session, user_id), now()
    return render(
        "users/show.html",
        status=status,
        user=user,
        form=form,
        roles=ROLES,
        places=count_sessions(db.session, user_id, now=at),
        sessions=sessions_of(db.session, user_id, now=at),
        entries=[in_short(item) for item in history(db.session, "user", user.username, HISTORY)],
    )


def _password_page(user_id: int, text: str, password: str | None, status: int = 200) -> Response:
    user = view_user(db.session, user_id)
    answer = render("users/made.html", status=status, user=user, text=text, password=password)
    return answer if password is None else shown_once(answer)

"""Accounts over JSON: access tokens for a password, what a token is worth, people and tokens."""

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as BaseResponse

from webapp.accounts import administration
from webapp.accounts.pages import WRONG, tried
from webapp.accounts.queries import (
    TokenFilters,
    TokenState,
    UserFilters,
    find_api_tokens,
    find_users,
    view_token,
    view_user,
)
from webapp.accounts.responses import (
    AccessTokenResponse,
    ApiTokenResponse,
    ApiTokensQuery,
    ChangedUserResponse,
    MadeApiTokenResponse,
    TokenRemovalQuery,
    TokenResponse,
    UserResponse,
    UsersQuery,
)
from webapp.accounts.schemas import (
    Credentials,
    NewApiToken,
    NewUser,
    UserUpdate,
    access_token_as_json,
    token_as_json,
    user_as_json,
)
from webapp.accounts.service import create_token, create_user, revoke_token
from webapp.accounts.sign_in import issue_access_token
from webapp.accounts.signatures import LIFETIME, signing_key
from webapp.actors import Actor
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.paging import COUNT_CAP
from webapp.roles import Role
from webapp.web.access import actor, principal, public, requires
from webapp.web.answers import json_answer, shown_once
from webapp.web.cursors import read_search
from webapp.web.limits import Kind, limited_as
from webapp.web.openapi import CountedCollection, describes
from webapp.web.problems import problem
from webapp.web.requests import current_settings, makes, request_id
from webapp.web.schemas import (
    Reasoned,
    Removal,
    read_choice,
    read_json,
    read_removal,
    read_window,
)

blueprint = Blueprint("accounts_api", __name__, url_prefix="/api/v1")


@blueprint.post("/auth/token")
@public
@limited_as(Kind.SIGN_IN)
@describes({200: AccessTokenResponse}, body=Credentials)
def sign_in() -> BaseResponse:
    """Sign an access token for whoever knows a username and its password."""
    body = read_json(Credentials)
    try:
        attempt = tried(body.username, body.password)
    except Invalid:
        answer = problem(HTTPStatus.UNAUTHORIZED, WRONG)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    assert attempt.user is not None  # noqa: S101 - a good try has one
    by = Actor("user", attempt.user.username, request_id())
    key = signing_key(current_settings().secret_key)
    text, claims = issue_access_token(db.session, attempt, key=key, by=by, now=now())
    db.session.commit()
    seconds = int(LIFETIME.total_seconds())
    told = access_token_as_json(
        text, role=claims.role, expires_at=claims.expires_at, seconds=seconds
    )
    return shown_once(json_answer(told))


@blueprint.get("/token")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
@describes({200: TokenResponse})
def show() -> Response:
    """Tell whoever asks what they may do here, and until when."""
    who = principal()
    return json_answer(
        {
            "name": who.name,
            "role": who.role,
            "environment": who.environment,
            "expires_at": who.expires_at,
        }
    )


@blueprint.get("/users")
@requires(Role.ADMIN)
@describes({200: CountedCollection[UserResponse]}, query=UsersQuery)
def users() -> Response:
    """List accounts by name."""
    active = read_choice("active") if "active" in request.args else None
    filters = UserFilters(read_search(), _role(), active)
    skip, limit = read_window()
    found = find_users(db.session, filters, skip=skip, limit=limit)
    return _list([user_as_json(user) for user in found.rows], found.total)


@blueprint.post("/users")
@requires(Role.ADMIN)
@describes(
    {201: ChangedUserResponse}, body=NewUser, example={"username": "anna", "role": "operator"}
)
@makes
def make_user() -> Response:
    """Make an account; a password that was made up is answered, once."""
    body = read_json(NewUser)
    password, made_up = body.password, None
    if password is None:
        password = made_up = administration.made_up_password()
    user = create_user(
        db.session, body.username, password=password, role=body.role, by=actor(), now=now()
    )
    db.session.commit()
    return _changed_user(user.id, made_up, 201)


@blueprint.get("/users/<int:user_id>")
@requires(Role.ADMIN)
@describes({200: UserResponse})
def show_user(user_id: int) -> Response:
    """Write one account."""
    return json_answer(user_as_json(view_user(db.session, user_id)))


@blueprint.patch("/users/<int:user_id>")
@requires(Role.ADMIN)
@describes({200: ChangedUserResponse}, body=UserUpdate)
def change_user(user_id: int) -> Response:
    """Change the fields given; a password that was made up is answered, once."""
    body = read_json(UserUpdate)
    body.refuse_nothing()
    by, at = actor(), now()
    made_up = None
    administration.change_user(
        db.session,
        user_id,
        role=body.role,
        active=body.active,
        by=by,
        now=at,
        reason=body.reason,
    )
    if body.password is not None:
        password = administration.reset_password(
            db.session, user_id, by=by, now=at, reason=body.reason, password=body.password
        )
        made_up = None if body.password else password
    db.session.commit()
    return _changed_user(user_id, made_up)


@blueprint.post("/users/<int:user_id>/sign-out")
@requires(Role.ADMIN)
@describes({200: UserResponse}, body=Reasoned)
def sign_out_user(user_id: int) -> Response:
    """End all sessions of an account, and void its access tokens."""
    body = read_json(Reasoned)
    administration.sign_out(db.session, user_id, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    return json_answer(user_as_json(view_user(db.session, user_id)))


@blueprint.get("/tokens")
@requires(Role.ADMIN)
@describes({200: CountedCollection[ApiTokenResponse]}, query=ApiTokensQuery)
def tokens() -> Response:
    """List API tokens by name."""
    state = request.args.get("state", "")
    if state and state not in set(TokenState):
        raise Invalid.field("state", f"One of {', '.join(TokenState)}.")
    filters = TokenFilters(read_search(), _role(), state)
    skip, limit = read_window()
    found = find_api_tokens(db.session, filters, now=now(), skip=skip, limit=limit)
    return _list([token_as_json(token) for token in found.rows], found.total)


@blueprint.post("/tokens")
@requires(Role.ADMIN)
@describes(
    {201: MadeApiTokenResponse},
    body=NewApiToken,
    example={"name": "web-shop", "role": "viewer", "environment": "production"},
)
@makes
def make_token() -> Response:
    """Make an API token: its text is answered, once."""
    body = read_json(NewApiToken)
    made = create_token(
        db.session,
        body.name,
        role=body.role,
        environment=body.environment,
        expires_at=body.expires_at,
        by=actor(),
        now=now(),
    )
    db.session.commit()
    answer = token_as_json(view_token(db.session, made.id, now=now()))
    return shown_once(json_answer(answer | {"token": made.text}, 201))


@blueprint.delete("/tokens/<int:token_id>")
@requires(Role.ADMIN)
@describes({204: None}, body=Removal, query=TokenRemovalQuery)
def delete_token(token_id: int) -> Response:
    """Make a token worthless for good; why stands in the body or the query."""
    wanted = read_removal()
    at = now()
    name = view_token(db.session, token_id, now=at).name
    revoke_token(db.session, name, by=actor(), now=at, reason=wanted.reason)
    db.session.commit()
    return Response(status=204)


def _changed_user(user_id: int, made_up: str | None, status: int = 200) -> Response:
    """Answer with an account, and with its password where one was made up."""
    body = user_as_json(view_user(db.session, user_id))
    if made_up is None:
        return json_answer(body, status)
    return shown_once(json_answer(body | {"password": made_up}, status))


def _list(items: list[dict[str, Any]], total: int) -> Response:
    return json_answer(
        {"items": items, "total": min(total, COUNT_CAP), "capped": total > COUNT_CAP}
    )


def _role() -> str:
    role = request.args.get("role", "")
    if role and role not in set(Role):
        raise Invalid.field("role", f"One of {', '.join(Role)}.")
    return role

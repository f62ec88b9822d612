"""Sign-in, sign-out and a person's own account page; who a cookie or a token stands for."""

import math
from dataclasses import dataclass
from http import HTTPStatus

from flask import (
    Blueprint,
    Flask,
    Response,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask import session as cookie
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as BaseResponse

from webapp import clock
from webapp.accounts.database_tokens import DatabaseTokens
from webapp.accounts.policy import USE_NOTED_EVERY, local_path, password_problem
from webapp.accounts.queries import count_sessions, session_account, sessions_of
from webapp.accounts.redis_tokens import RedisTokens
from webapp.accounts.service import (
    begin_session,
    change_password,
    end_session,
    end_session_by_handle,
    note_session_use,
    sign_out_everywhere,
)
from webapp.accounts.sign_in import Try, accept_try, count_try, refuse_try, throttled
from webapp.accounts.signatures import signing_key
from webapp.accounts.signed_tokens import SignedTokens
from webapp.accounts.token_publishing import (
    TokenPublisher,
    keep_tokens_published,
    provide_publisher,
)
from webapp.accounts.tokens import TokenBook
from webapp.accounts.values import Account
from webapp.db import db, transaction
from webapp.errors import FieldErrors, Forbidden, Invalid, Throttled
from webapp.logs import get_logger
from webapp.roles import Role
from webapp.settings import Settings
from webapp.web.access import Principal, actor, public, requires
from webapp.web.htmx import done, wants_part
from webapp.web.limits import Kind, limited_as
from webapp.web.requests import SAFE_METHODS

log = get_logger(__name__)
blueprint = Blueprint("accounts", __name__)
login_manager = LoginManager()
# It would end sessions whenever somebody changes networks; ours end by epoch and by row.
login_manager.session_protection = None

WRONG = "The username or the password is wrong."


@dataclass(frozen=True, slots=True)
class SignedIn(UserMixin):
    """Whoever a session cookie stands for; the cookie names account, epoch and session."""

    id: int
    username: str
    role: Role
    epoch: int
    session_id: str

    def get_id(self) -> str:
        """Return what the cookie says."""
        return f"{self.id}:{self.epoch}:{self.session_id}"


def setup(app: Flask) -> None:
    """Let the application know people by their cookie and programs by their token."""
    login_manager.init_app(app)
    settings: Settings = app.extensions["settings"]
    tokens = DatabaseTokens(settings.database_url)
    key = signing_key(settings.secret_key)
    book = TokenBook(SignedTokens(tokens, tokens.standings, key=key))
    publisher = None
    if settings.redis_url:
        publisher = TokenPublisher(tokens.published, RedisTokens(settings.redis_url))
        # Not before: a command that only lists something has no use for a thread.
        app.before_request(keep_tokens_published)
    provide_publisher(publisher)

    def authenticate(text: str) -> Principal | None:
        grant = book.grant(text, clock.now())
        if grant is None:
            return None
        return Principal(grant.kind, grant.name, grant.role, grant.environment, grant.expires_at)

    app.extensions["token_book"] = book
    app.extensions["token_publisher"] = publisher
    app.extensions["authenticator"] = authenticate


@login_manager.user_loader
def load_signed_in(cookie_text: str) -> SignedIn | None:
    """Return whoever the cookie stands for, or None where its session has ended."""
    user_id, epoch, session_id = cookie_text.split(":", 2)
    account = session_account(db.session, int(user_id), int(epoch), session_id, now=clock.now())
    if account is None:
        # Else each answer would sign the dead cookie anew.
        cookie.clear()
        return None
    _note_use(account, session_id)
    return SignedIn(account.id, account.username, account.role, account.epoch, session_id)


def _note_use(account: Account, session_id: str) -> None:
    """Note that a session is in use, every few minutes and only where a person asked for a page.

    Apart from the request's own transaction, which only reads.  It is left out where the database
    is busy: the page matters more.
    """
    at = clock.now()
    is_recent = account.last_used_at and at - account.last_used_at < USE_NOTED_EVERY
    if is_recent or wants_part() or request.method not in SAFE_METHODS:
        return
    try:
        with transaction() as session:
            note_session_use(session, session_id, now=at)
    except SQLAlchemyError as error:
        log.warning("session_use_not_noted", error=type(error).__name__)


@blueprint.get("/sign-in")
@public
def sign_in() -> BaseResponse:
    """Show the sign-in form, or go on where somebody is signed in already."""
    target = local_path(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(target)
    return _sign_in_form(target)


@blueprint.post("/sign-in")
@public
@limited_as(Kind.SIGN_IN)
def enter() -> BaseResponse:
    """Sign a person in and go to where they wanted to."""
    target = local_path(request.form.get("next"))
    username = request.form.get("username", "")
    password = request.form.get("password", "")
    try:
        attempt = tried(username, password)
    except Throttled as error:
        return _sign_in_form(target, username, problem=error)
    except Invalid as error:
        return _sign_in_form(target, username, errors=error.errors)
    _open_session(attempt)
    db.session.commit()
    log.info("signed_in", username=current_user.username, address=request.remote_addr)
    return redirect(target, code=HTTPStatus.SEE_OTHER)


@blueprint.post("/sign-out")
@public
def leave() -> BaseResponse:
    """End this session; copies of its cookie are worthless from here on."""
    if current_user.is_authenticated:
        end_session(db.session, current_user.session_id)
        db.session.commit()
    _forget()
    return _parted(done("You are signed out.", url=url_for("accounts.sign_in")))


@blueprint.get("/account")
@requires(Role.VIEWER)
def show() -> BaseResponse:
    """Show a person's own account."""
    return _account_page(_person())


@blueprint.post("/account/password")
@requires(Role.VIEWER)
def set_password() -> BaseResponse:
    """Change one's own password; every other session of the account ends."""
    person = _person()
    new = request.form.get("password", "")
    try:
        _check_new_password(new, request.form.get("repeated", ""), person.username)
        attempt = tried(person.username, request.form.get("current", ""), field="current")
        change_password(db.session, person.id, new, by=actor(), now=clock.now())
    except (Invalid, Throttled) as error:
        db.session.rollback()
        return _account_page(person, error)
    _open_session(attempt)
    db.session.commit()
    return done(
        "The password is changed. Other places are signed out.", url=url_for("accounts.show")
    )


@blueprint.post("/account/sign-out-everywhere")
@requires(Role.VIEWER)
def leave_everywhere() -> BaseResponse:
    """End all sessions of one's account, this one too."""
    person = _person()
    sign_out_everywhere(db.session, person.id, by=actor(), now=clock.now())
    db.session.commit()
    _forget()
    return _parted(done("You are signed out everywhere.", url=url_for("accounts.sign_in")))


@blueprint.post("/account/sessions/<handle>/end")
@requires(Role.VIEWER)
def leave_one(handle: str) -> BaseResponse:
    """End another session of one's account."""
    end_session_by_handle(db.session, _person().id, handle, by=actor(), now=clock.now())
    db.session.commit()
    return done("That session has ended.", url=url_for("accounts.show"))


def _check_new_password(new: str, repeated: str, username: str) -> None:
    """Refuse what cannot become the password, before a try is counted that would lock its owner."""
    if new != repeated:
        raise Invalid.field("repeated", "The two are not the same.")
    if problem := password_problem(new, username):
        raise Invalid.field("password", problem)


def _parted(answer: BaseResponse) -> BaseResponse:
    """Have the browser drop its copies of our pages, so that Back shows none of them."""
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def tried(username: str, password: str, *, field: str = "password") -> Try:
    """Count a try, compare the password outside any transaction, and settle the try.

    A good try is settled in the transaction that is left open.
    """
    now = clock.now()
    attempt = count_try(db.session, username, address=request.remote_addr or "", now=now)
    db.session.commit()
    good = attempt.password_matches(password)
    if good and accept_try(db.session, attempt, password=password, now=now):
        return attempt
    refuse_try(db.session, attempt, by=actor(), now=now)
    db.session.commit()
    log.warning("sign_in_failed", address=request.remote_addr, tries=attempt.tries)
    if attempt.lock:
        raise throttled(attempt.lock)
    raise Invalid(WRONG, {field: [WRONG if field == "password" else "This is not the password."]})


def _open_session(attempt: Try) -> None:
    """Begin a session with a cookie of its own: nothing of the one before it is kept."""
    assert attempt.user is not None  # noqa: S101 - a good try has one
    if current_user.is_authenticated:
        # Else its row would stand, and a copy of its cookie with it, until it is too old.
        end_session(db.session, current_user.session_id)
    user = attempt.user
    session_id = begin_session(
        db.session,
        user.id,
        address=request.remote_addr,
        user_agent=request.user_agent.string,
        now=clock.now(),
    )
    cookie.clear()
    cookie.permanent = True
    login_user(SignedIn(user.id, user.username, Role(user.role), user.epoch, session_id))


def _forget() -> None:
    logout_user()
    cookie.clear()


def _person() -> SignedIn:
    """Return whoever is signed in; a program that shows a token has no account page."""
    if not current_user.is_authenticated:
        raise Forbidden("Only a person who is signed in has an account page.")
    person: SignedIn = current_user._get_current_object()  # noqa: SLF001 - werkzeug's own way
    return person


def _sign_in_form(
    target: str,
    username: str = "",
    *,
    errors: FieldErrors | None = None,
    problem: Throttled | None = None,
) -> Response:
    response = make_response(
        render_template(
            "accounts/sign_in.html",
            target=target,
            username=username,
            errors=errors or {},
            problem=problem.detail if problem else None,
        )
    )
    if errors:
        response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    return _throttled_answer(response, problem)


def _account_page(person: SignedIn, error: Invalid | Throttled | None = None) -> Response:
    now = clock.now()
    account = session_account(db.session, person.id, person.epoch, person.session_id, now=now)
    response = make_response(
        render_template(
            "accounts/show.html",
            account=account,
            places=count_sessions(db.session, person.id, now=now),
            sessions=sessions_of(db.session, person.id, now=now),
            session_id=person.session_id,
            errors=error.errors if isinstance(error, Invalid) else {},
            problem=error.detail if isinstance(error, Throttled) else None,
        )
    )
    if isinstance(error, Invalid):
        response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    return _throttled_answer(response, error if isinstance(error, Throttled) else None)


def _throttled_answer(response: Response, problem: Throttled | None) -> Response:
    if problem:
        response.status_code = HTTPStatus.TOO_MANY_REQUESTS
        response.headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    return response

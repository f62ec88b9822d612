"""What admins change about accounts, on both databases and by several at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tests.conftest import PASSWORD
from webapp.accounts.administration import change_user, reset_password, sign_out
from webapp.accounts.models import User
from webapp.accounts.queries import (
    TokenFilters,
    TokenState,
    UserFilters,
    count_sessions,
    find_api_tokens,
    find_users,
    sessions_of,
)
from webapp.accounts.service import (
    begin_session,
    create_token,
    create_user,
    end_session_by_handle,
    note_session_use,
    revoke_token,
)
from webapp.accounts.sign_in import count_try
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.db import reading, transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.roles import Role

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


def make(session: Session, now: datetime, username: str, role: Role = Role.ADMIN) -> int:
    return create_user(session, username, password=PASSWORD, role=role, by=COMMAND, now=now).id


def change(session: Session, user_id: int, now: datetime, **fields: object) -> User:
    given = {"by": COMMAND, "now": now, "reason": "Needed"} | fields
    return change_user(session, user_id, **given)  # type: ignore[arg-type]


def test_another_role_is_audited_with_its_reason(session: Session, now: datetime) -> None:
    make(session, now, "root")
    anna = make(session, now, "anna", Role.VIEWER)
    assert change(session, anna, now, role=Role.OPERATOR).role == Role.OPERATOR
    entry = history(session, "user", "anna")[0]
    assert (entry.action, entry.reason) == ("user.role_changed", "Needed")
    assert [(item.field, item.old, item.new) for item in entry.changes] == [
        ("role", "viewer", "operator")
    ]


def test_what_is_so_already_is_not_audited(session: Session, now: datetime) -> None:
    make(session, now, "root")
    anna = make(session, now, "anna", Role.VIEWER)
    change(session, anna, now, role=Role.VIEWER, active=True)
    assert len(history(session, "user", "anna")) == 1


def test_a_deactivated_account_is_signed_out_and_may_come_back(
    session: Session, now: datetime
) -> None:
    make(session, now, "root")
    anna = make(session, now, "anna", Role.VIEWER)
    begin_session(session, anna, now=now)
    before = change(session, anna, now, role=Role.VIEWER).epoch
    user = change(session, anna, now, active=False)
    assert (user.active, user.epoch) == (False, before + 1)
    assert count_sessions(session, anna, now=now) == 0
    assert change(session, anna, now, active=True).active
    assert [entry.action for entry in history(session, "user", "anna")] == [
        "user.reactivated",
        "user.deactivated",
        "user.created",
    ]


@pytest.mark.parametrize("fields", [{"role": Role.OPERATOR}, {"active": False}])
def test_the_last_admin_stays_one(
    session: Session, now: datetime, fields: dict[str, object]
) -> None:
    root = make(session, now, "root")
    gone = make(session, now, "gone")
    change(session, gone, now, active=False)
    make(session, now, "anna", Role.OPERATOR)
    with pytest.raises(Conflict, match="root is the last active admin"):
        change(session, root, now, **fields)
    make(session, now, "other")
    change(session, root, now, **fields)


def test_an_admin_who_is_not_active_may_lose_the_role(session: Session, now: datetime) -> None:
    make(session, now, "root")
    gone = make(session, now, "gone")
    change(session, gone, now, active=False)
    assert change(session, gone, now, role=Role.VIEWER).role == Role.VIEWER


def test_of_admins_who_demote_each_other_at_once_one_is_left(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        admins = [make(session, now, f"admin{number}") for number in range(6)]

    def demote(user_id: int) -> bool:
        with app.app_context():
            try:
                with transaction() as session:
                    change(session, user_id, now, role=Role.VIEWER)
            except Conflict:
                return False
            return True

    with ThreadPoolExecutor(6) as threads:
        done = list(threads.map(demote, admins))
    assert done.count(False) == 1
    with app.app_context(), reading() as session:
        left = select(func.count()).where(User.role == Role.ADMIN.value)
        assert session.scalar(left) == 1


def test_what_is_locked_is_read_anew(session: Session, now: datetime) -> None:
    """What somebody else committed since this session read the account is not undone."""
    make(session, now, "root")
    anna = make(session, now, "anna", Role.VIEWER)
    session.commit()
    seen = session.get_one(User, anna)
    assert (seen.role, seen.active) == (Role.VIEWER, True)
    session.commit()
    with transaction() as other:
        change(other, anna, now, role=Role.OPERATOR)
        change(other, anna, now, active=False)
    user = change(session, anna, now, active=False)
    assert (user.role, user.active, user.epoch) == (Role.OPERATOR, False, 2)
    actions = [entry.action for entry in history(session, "user", "anna")]
    assert actions == ["user.deactivated", "user.role_changed", "user.created"]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_every_act_wants_a_reason(session: Session, now: datetime, reason: str) -> None:
    make(session, now, "root")
    anna = make(session, now, "anna", Role.VIEWER)
    for act in (
        lambda: change(session, anna, now, role=Role.ADMIN, reason=reason),
        lambda: reset_password(session, anna, by=COMMAND, now=now, reason=reason),
        lambda: sign_out(session, anna, by=COMMAND, now=now, reason=reason),
    ):
        with pytest.raises(Invalid) as refused:
            act()
        assert set(refused.value.errors) == {"reason"}
    assert len(history(session, "user", "anna")) == 1


def test_nobody_who_does_not_exist_is_changed(session: Session, now: datetime) -> None:
    make(session, now, "root")
    with pytest.raises(NotFound):
        change(session, 10**9, now, role=Role.ADMIN)


def test_a_reset_password_is_made_up_and_works_and_signs_out(
    session: Session, now: datetime
) -> None:
    anna = make(session, now, "anna", Role.VIEWER)
    begin_session(session, anna, now=now)
    made_up = reset_password(session, anna, by=COMMAND, now=now, reason="Forgotten")
    assert len(made_up) == 20
    attempt = count_try(session, "anna", address="192.0.2.7", now=now)
    assert attempt.password_matches(made_up)
    assert not attempt.password_matches(PASSWORD)
    assert count_sessions(session, anna, now=now) == 0
    entry = history(session, "user", "anna")[0]
    assert (entry.action, entry.reason) == ("user.password_changed", "Forgotten")
    assert made_up not in repr(entry)


def test_a_password_that_was_set_is_held_to_the_rules(session: Session, now: datetime) -> None:
    anna = make(session, now, "anna", Role.VIEWER)
    with pytest.raises(Invalid) as refused:
        reset_password(session, anna, by=COMMAND, now=now, reason="Why not", password="short")
    assert set(refused.value.errors) == {"password"}


def test_a_session_knows_its_place_and_its_last_use(session: Session, now: datetime) -> None:
    anna = make(session, now, "anna", Role.VIEWER)
    opened = begin_session(
        session, anna, address="192.0.2.7", user_agent=FIREFOX + "x" * 300, now=now
    )
    (seen,) = sessions_of(session, anna, now=now)
    assert (seen.id, seen.address, seen.browser) == (opened, "192.0.2.7", "Firefox on Linux")
    assert opened not in seen.handle
    for minutes, noted in ((4, 0), (5, 5), (9, 5), (10, 10)):
        note_session_use(session, opened, now=now.replace(minute=minutes))
        (seen,) = sessions_of(session, anna, now=now)
        assert seen.last_used_at == now.replace(minute=noted)


def test_one_session_is_ended_by_its_owner_only(session: Session, now: datetime) -> None:
    anna = make(session, now, "anna", Role.VIEWER)
    other = make(session, now, "other", Role.VIEWER)
    opened, kept = (begin_session(session, anna, now=now) for _ in range(2))
    handle = next(item.handle for item in sessions_of(session, anna, now=now) if item.id == opened)
    with pytest.raises(NotFound):
        end_session_by_handle(session, other, handle, by=COMMAND, now=now)
    end_session_by_handle(session, anna, handle, by=COMMAND, now=now)
    assert [item.id for item in sessions_of(session, anna, now=now)] == [kept]
    with pytest.raises(NotFound):
        end_session_by_handle(session, anna, handle, by=COMMAND, now=now)
    assert history(session, "user", "anna")[0].action == "user.session_ended"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (UserFilters(), ["50%_off", "anna", "root"]),
        (UserFilters("NN"), ["anna"]),
        (UserFilters("%"), ["50%_off"]),
        (UserFilters(role="admin"), ["root"]),
        (UserFilters(active=False), ["50%_off"]),
        (UserFilters(active=True), ["anna", "root"]),
        (UserFilters("nobody"), []),
    ],
)
def test_accounts_are_found_by_what_narrows_them(
    session: Session, now: datetime, filters: UserFilters, names: list[str]
) -> None:
    make(session, now, "root")
    make(session, now, "anna", Role.VIEWER)
    odd = create_user(session, "odd", password=PASSWORD, role=Role.VIEWER, by=COMMAND, now=now)
    odd.username, odd.active = "50%_off", False
    session.flush()
    found = find_users(session, filters)
    assert [user.username for user in found.rows] == names
    assert found.total == len(names)


def test_tokens_are_found_by_what_they_are_worth(session: Session, now: datetime) -> None:
    for name, hours in (("good", 2), ("short", 1), ("gone", 1)):
        create_token(
            session,
            name,
            role=Role.VIEWER,
            expires_at=now.replace(hour=now.hour + hours),
            by=COMMAND,
            now=now,
        )
    forever = create_token(session, "forever", role=Role.ADMIN, by=COMMAND, now=now)
    revoke_token(session, "gone", by=COMMAND, now=now, reason="Lost")
    assert history(session, "token", "gone")[0].reason == "Lost"
    later = now.replace(hour=now.hour + 1)

    def names(filters: TokenFilters) -> list[str]:
        return [item.name for item in find_api_tokens(session, filters, now=later).rows]

    assert names(TokenFilters(state=TokenState.GOOD)) == ["forever", "good"]
    assert names(TokenFilters(state=TokenState.EXPIRED)) == ["short"]
    assert names(TokenFilters(state=TokenState.REVOKED)) == ["gone"]
    assert names(TokenFilters(role=Role.ADMIN)) == ["forever"]
    assert names(TokenFilters(forever.text[:8])) == ["forever"]
    assert names(TokenFilters("GO")) == ["gone", "good"]
    assert forever.text not in repr(find_api_tokens(session, TokenFilters(), now=later))

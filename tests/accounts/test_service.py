"""What is written about accounts, on both databases."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.accounts.models import ApiToken, UserSession
from webapp.accounts.policy import SESSION_LIFETIME
from webapp.accounts.queries import count_sessions, find_token, find_user, session_account
from webapp.accounts.service import (
    begin_session,
    change_password,
    create_token,
    create_user,
    end_session,
    revoke_token,
    sign_out_everywhere,
)
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.errors import Conflict, Invalid, NotFound
from webapp.roles import Role

PASSWORD = "correct horse battery"


def make_user(session: Session, now: datetime, username: str = "anna") -> int:
    user = create_user(
        session, username, password=PASSWORD, role=Role.OPERATOR, by=COMMAND, now=now
    )
    return user.id


def test_an_account_is_found_however_its_name_is_written(session: Session, now: datetime) -> None:
    make_user(session, now, "Anna")
    found = find_user(session, " ANNA ")
    assert found is not None
    assert found.username == "anna"
    assert PASSWORD not in found.password_hash


def test_a_name_is_given_once_whatever_its_case(session: Session, now: datetime) -> None:
    make_user(session, now, "anna")
    with pytest.raises(Conflict):
        make_user(session, now, "ANNA")
    assert find_user(session, "anna") is not None


def test_a_refused_account_names_each_field(session: Session, now: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        create_user(session, "a b", password="short", role=Role.VIEWER, by=COMMAND, now=now)
    assert set(refused.value.errors) == {"username", "password"}


def test_a_new_account_is_audited_without_its_password(session: Session, now: datetime) -> None:
    make_user(session, now)
    (entry,) = history(session, "user", "anna")
    assert entry.action == "user.created"
    assert [change.field for change in entry.changes] == ["role"]


def test_a_session_stands_until_it_is_ended(session: Session, now: datetime) -> None:
    user_id = make_user(session, now)
    one, other = (begin_session(session, user_id, now=now) for _ in range(2))
    assert count_sessions(session, user_id, now=now) == 2
    end_session(session, one)
    assert session_account(session, user_id, 1, one, now=now) is None
    assert session_account(session, user_id, 1, other, now=now) is not None


def test_a_session_ends_for_good_however_busy_it_is(session: Session, now: datetime) -> None:
    user_id = make_user(session, now)
    opened = begin_session(session, user_id, now=now)
    late = now + SESSION_LIFETIME
    assert session_account(session, user_id, 1, opened, now=late) is None
    begin_session(session, user_id, now=late)
    assert opened not in session.scalars(select(UserSession.id)).all()


def test_a_session_of_an_inactive_account_is_worthless(session: Session, now: datetime) -> None:
    user_id = make_user(session, now)
    opened = begin_session(session, user_id, now=now)
    user = find_user(session, "anna")
    assert user is not None
    user.active = False
    session.flush()
    assert session_account(session, user_id, 1, opened, now=now) is None
    assert find_user(session, "anna") is None


def test_signing_out_everywhere_ends_all_sessions(session: Session, now: datetime) -> None:
    user_id = make_user(session, now)
    opened = begin_session(session, user_id, now=now)
    sign_out_everywhere(session, user_id, by=COMMAND, now=now)
    session.flush()
    assert count_sessions(session, user_id, now=now) == 0
    assert session_account(session, user_id, 1, opened, now=now) is None
    assert history(session, "user", "anna")[0].action == "user.signed_out_everywhere"


def test_a_new_password_ends_all_sessions_and_is_audited(session: Session, now: datetime) -> None:
    user_id = make_user(session, now)
    opened = begin_session(session, user_id, now=now)
    change_password(session, user_id, "another long one", by=COMMAND, now=now)
    session.flush()
    assert session_account(session, user_id, 1, opened, now=now) is None
    entry = history(session, "user", "anna")[0]
    assert (entry.action, entry.changes) == ("user.password_changed", ())


def test_a_token_is_shown_once_and_kept_as_a_hash(session: Session, now: datetime) -> None:
    token = create_token(
        session, "deploy", role=Role.VIEWER, environment="staging", by=COMMAND, now=now
    )
    assert token.text.startswith("swy_")
    assert len(token.text) == 44
    row = session.scalars(select(ApiToken)).one()
    assert token.text not in (row.token_hash, row.prefix)
    assert token.text.startswith(row.prefix)
    grant = find_token(session, token.text)
    assert grant is not None
    assert (grant.name, grant.role, grant.environment) == ("deploy", Role.VIEWER, "staging")


def test_a_token_without_a_name_gets_one(session: Session, now: datetime) -> None:
    token = create_token(session, "", role=Role.VIEWER, by=COMMAND, now=now)
    assert token.name == f"viewer-{token.text[4:10]}"


def test_a_tokens_name_is_given_once(session: Session, now: datetime) -> None:
    create_token(session, "deploy", role=Role.VIEWER, by=COMMAND, now=now)
    with pytest.raises(Conflict):
        create_token(session, "deploy", role=Role.VIEWER, by=COMMAND, now=now)


def test_a_token_that_runs_out_in_the_past_is_refused(session: Session, now: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        create_token(session, "old", role=Role.VIEWER, expires_at=now, by=COMMAND, now=now)
    assert set(refused.value.errors) == {"expires_at"}


def test_a_token_holds_until_it_runs_out(session: Session, now: datetime) -> None:
    token = create_token(
        session,
        "deploy",
        role=Role.VIEWER,
        expires_at=now + timedelta(days=1),
        by=COMMAND,
        now=now,
    )
    grant = find_token(session, token.text)
    assert grant is not None
    assert grant.holds(now + timedelta(hours=23))
    assert not grant.holds(now + timedelta(days=1))


def test_a_revoked_token_is_worthless_and_audited_once(session: Session, now: datetime) -> None:
    token = create_token(session, "deploy", role=Role.VIEWER, by=COMMAND, now=now)
    revoke_token(session, "deploy", by=COMMAND, now=now, reason="Leaked")
    revoke_token(session, "deploy", by=COMMAND, now=now, reason="Leaked")
    assert find_token(session, token.text) is None
    assert [entry.action for entry in history(session, "token", "deploy")] == [
        "token.revoked",
        "token.created",
    ]


def test_only_a_token_that_exists_can_be_revoked(session: Session, now: datetime) -> None:
    with pytest.raises(NotFound):
        revoke_token(session, "nobody", by=COMMAND, now=now, reason="Leaked")


@pytest.mark.parametrize("reason", ["", " ", "x" * 501])
def test_a_token_is_revoked_for_a_reason_only(session: Session, now: datetime, reason: str) -> None:
    create_token(session, "deploy", role=Role.VIEWER, by=COMMAND, now=now)
    with pytest.raises(Invalid) as refused:
        revoke_token(session, "deploy", by=COMMAND, now=now, reason=reason)
    assert set(refused.value.errors) == {"reason"}
    assert [entry.action for entry in history(session, "token", "deploy")] == ["token.created"]


def test_no_entry_of_the_audit_holds_a_token(session: Session, now: datetime) -> None:
    token = create_token(session, "deploy", role=Role.ADMIN, by=COMMAND, now=now)
    assert token.text not in repr(history(session, "token", "deploy"))

"""The commands about people and tokens."""

from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask

from webapp.accounts.queries import find_token, find_user
from webapp.audit.service import history
from webapp.db import reading
from webapp.errors import DomainError

PASSWORD = "correct horse battery"
Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask) -> Run:
    """Run a command as ``flask`` does, inside the application's context."""

    def invoke(*words: str, stdin: str | None = None) -> Result:
        with app.app_context():
            return app.test_cli_runner().invoke(args=words, input=stdin)

    return invoke


def make_user(run: Run, username: str = "anna", password: str = PASSWORD) -> Result:
    return run(
        "users", "create", username, "--role", "admin", "--password-stdin", stdin=f"{password}\n"
    )


def test_an_account_is_made_with_a_password_from_standard_input(run: Run, app: Flask) -> None:
    made = make_user(run, "Anna")
    assert (made.exit_code, made.stdout) == (0, "Made the account anna, admin.\n")
    with app.app_context(), reading() as session:
        assert find_user(session, "anna") is not None


def test_the_password_is_asked_for_twice_and_not_shown(run: Run) -> None:
    asked = run("users", "create", "anna", "--role", "viewer", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert asked.exit_code == 0
    assert PASSWORD not in asked.output


@pytest.mark.parametrize(
    ("username", "password", "message"),
    [
        ("a b", PASSWORD, "Error: username: Use letters"),
        ("anna", "short", "Error: password: Use at least 12 characters."),
        ("anna", "", "Error: password: Use at least 12 characters."),
    ],
)
def test_a_refused_account_is_told_in_one_line(
    run: Run, username: str, password: str, message: str
) -> None:
    refused = make_user(run, username, password)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(message)
    assert len(refused.stderr.splitlines()) == 1


def test_a_name_that_is_taken_is_refused(run: Run) -> None:
    make_user(run)
    again = make_user(run, "ANNA")
    assert (again.exit_code, again.stderr) == (1, "Error: There is an account anna already.\n")


def test_an_unknown_role_is_refused(run: Run) -> None:
    assert run("users", "create", "anna", "--role", "king").exit_code == 2


def test_the_accounts_are_listed_without_their_hashes(run: Run) -> None:
    make_user(run)
    listed = run("users", "list")
    assert listed.stdout.splitlines()[1].split() == ["anna", "admin", "yes", "never"]
    assert "argon2" not in listed.output


def test_a_token_is_printed_alone(run: Run, app: Flask) -> None:
    made = run("tokens", "create", "--role", "viewer", "--environment", "staging")
    assert made.exit_code == 0
    text = made.stdout.removesuffix("\n")
    assert len(text.split()) == 1
    with app.app_context(), reading() as session:
        grant = find_token(session, text)
    assert grant is not None
    assert (grant.role, grant.environment, grant.expires_at) == ("viewer", "staging", None)


def test_a_token_is_listed_by_its_first_characters(run: Run) -> None:
    text = run(
        "tokens", "create", "--role", "viewer", "--name", "ci", "--expires-days", "30"
    ).stdout
    listed = run("tokens", "list").stdout
    assert f"ci    {text[:10]}…" in listed
    assert text.strip() not in listed


def test_a_token_is_revoked_by_its_name(run: Run, app: Flask) -> None:
    text = run("tokens", "create", "--role", "viewer", "--name", "ci").stdout.strip()
    assert run("tokens", "revoke", "ci").stdout == "Revoked the token ci.\n"
    with app.app_context(), reading() as session:
        assert find_token(session, text) is None
    assert run("tokens", "list").stdout.rstrip().endswith("revoked")


@pytest.mark.parametrize(
    ("given", "reason"),
    [((), "Revoked on the command line."), (("--reason", "Found on a wiki"), "Found on a wiki")],
)
def test_the_audit_knows_why_a_token_was_revoked(
    run: Run, app: Flask, given: tuple[str, ...], reason: str
) -> None:
    run("tokens", "create", "--role", "viewer", "--name", "ci")
    run("tokens", "revoke", "ci", *given)
    with app.app_context(), reading() as session:
        assert history(session, "token", "ci")[0].reason == reason


def test_a_token_that_does_not_exist_cannot_be_revoked(run: Run) -> None:
    refused = run("tokens", "revoke", "ci")
    assert (refused.exit_code, refused.stderr) == (1, "Error: There is no token ci.\n")
    assert not isinstance(refused.exception, DomainError)

"""The commands about people and tokens: ``flask users …`` and ``flask tokens …``."""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from webapp import clock
from webapp.accounts.queries import list_tokens, list_users
from webapp.accounts.service import create_token, create_user, revoke_token
from webapp.actors import COMMAND
from webapp.db import reading, transaction
from webapp.errors import DomainError
from webapp.roles import Role

ROLE = click.Choice([role.value for role in Role])


class Commands(click.Group):
    """A group whose commands tell what was refused in one line."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except DomainError as error:
            raise click.ClickException(error.detail) from None


@click.group(cls=Commands)
def users() -> None:
    """People who may sign in."""


@users.command("create")
@click.argument("username")
@click.option("--role", type=ROLE, required=True, help="What they may do.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def create_one(username: str, role: str, *, password_stdin: bool) -> None:
    """Make an account, asking for its password."""
    password = (
        sys.stdin.readline().rstrip("\r\n")
        if password_stdin
        else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    with transaction() as session:
        user = create_user(
            session, username, password=password, role=Role(role), by=COMMAND, now=clock.now()
        )
    click.echo(f"Made the account {user.username}, {user.role}.")


@users.command("list")
def list_all_users() -> None:
    """List the accounts."""
    with reading() as session:
        rows = [
            (user.username, user.role, "yes" if user.active else "no", _time(user.last_sign_in_at))
            for user in list_users(session)
        ]
    _print_table(("username", "role", "active", "last sign-in"), rows)


@click.group(cls=Commands)
def tokens() -> None:
    """Tokens that programs show."""


@tokens.command("create")
@click.option("--role", type=ROLE, required=True, help="What the program may do.")
@click.option("--environment", help="The environment that it evaluates flags in.")
@click.option("--name", default="", help="What the audit calls it; else one is made up.")
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Days until it runs out.")
def create_one_token(
    role: str, environment: str | None, name: str, expires_days: int | None
) -> None:
    """Make a token and print it, alone, for the only time."""
    now = clock.now()
    with transaction() as session:
        token = create_token(
            session,
            name,
            role=Role(role),
            environment=environment,
            expires_at=now + timedelta(days=expires_days) if expires_days else None,
            by=COMMAND,
            now=now,
        )
    click.echo(token.text)


@tokens.command("list")
def list_all_tokens() -> None:
    """List the tokens, by the first characters of each."""
    with reading() as session:
        rows = [
            (
                token.name,
                f"{token.prefix}…",
                token.role,
                token.environment or "any",
                _time(token.expires_at),
                _time(token.last_used_at),
                "revoked" if token.revoked_at else "",
            )
            for token in list_tokens(session)
        ]
    _print_table(("name", "token", "role", "environment", "expires", "last used", ""), rows)


@tokens.command("revoke")
@click.argument("name")
@click.option(
    "--reason",
    default="Revoked on the command line.",
    show_default=True,
    help="Why, for the audit.",
)
def revoke_one(name: str, reason: str) -> None:
    """Make a token worthless for good."""
    with transaction() as session:
        revoke_token(session, name, by=COMMAND, now=clock.now(), reason=reason)
    click.echo(f"Revoked the token {name}.")


def _time(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC" if when else "never"


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    for row in [head, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())

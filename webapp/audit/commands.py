"""The command about the audit: ``flask audit verify``."""

import click

from webapp.audit.chain import Fault
from webapp.audit.verification import Breach, Verdict, verify
from webapp.db import reading


@click.group("audit")
def audit_commands() -> None:
    """The record of who changed what."""


@audit_commands.command("verify")
@click.option(
    "--expect", metavar="HASH", help="A hash that an earlier run ended in: it must still be there."
)
def verify_chain(expect: str | None) -> None:
    """Follow the chain of all entries; fail at the first that is not as it was written."""
    with reading() as session:
        verdict = verify(session, expected=expect)
    if verdict.breach:
        raise click.ClickException(f"{_told(verdict.breach)} {_right_before(verdict)}")
    if not verdict.seen_expected:
        raise click.ClickException(
            f"The chain is whole, but {expect} is not in it: it was written anew, or cut and "
            "written on."
        )
    click.echo(f"The chain is whole: {verdict.right:,} entries, up to {verdict.hash}")


def _told(breach: Breach) -> str:
    if breach.entry is None:
        return "Entries are missing at the end: the last is not the newest that was written."
    if breach.fault == Fault.CHANGED:
        return f"Entry {breach.entry} was changed: it does not have the content of its hash."
    if breach.fault == Fault.ORDER:
        return f"Entry {breach.entry} is out of order: it was written after entry {breach.follows}."
    return f"Before entry {breach.entry}, what it was written after was removed or replaced."


def _right_before(verdict: Verdict) -> str:
    if verdict.right == 1:
        return "The one entry before that is right."
    return f"The {verdict.right:,} entries before that are right."

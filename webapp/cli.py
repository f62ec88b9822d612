"""The ``flask`` commands that belong to no capability: ``doctor``, ``backup`` and ``seed``.

The others stand in ``<capability>/commands.py`` and are registered with their capability.
"""

import json
import os
import textwrap
from collections.abc import Iterable
from pathlib import Path

import click
from flask import Flask, current_app

from webapp import clock
from webapp.backup import back_up
from webapp.db import db, transaction
from webapp.doctor import Setting, describe_settings, examine
from webapp.errors import DomainError
from webapp.findings import Finding, Grade
from webapp.seed import FirstAdmin, seed
from webapp.settings import Settings

RULE = "-" * 60
WIDTH = 100
MARKS = {
    Grade.GOOD: ("ok     ", "green"),
    Grade.WARNING: ("WARNING", "yellow"),
    Grade.PROBLEM: ("PROBLEM", "red"),
}


def register_commands(app: Flask) -> None:
    """Add our commands to ``flask``."""
    app.cli.add_command(doctor)
    app.cli.add_command(backup)
    app.cli.add_command(seed_command)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for programs.")
def doctor(*, as_json: bool) -> None:
    """Show the settings, what can be reached, and what to do about what cannot.

    Fails where there is a problem; what only should be seen to is a warning.
    """
    settings: Settings = current_app.extensions["settings"]
    described = describe_settings(settings)
    if not as_json:
        _tell_settings(described)
    findings = []
    for finding in examine(settings, db.engine):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    problems = sum(finding.grade == Grade.PROBLEM for finding in findings)
    if as_json:
        _write(described, findings)
        click.get_current_context().exit(int(bool(problems)))
    if problems:
        raise click.ClickException(f"{problems} problem{'s' if problems > 1 else ''}: see above.")
    if all(finding.good for finding in findings):
        click.secho("All is well.", fg="green")
    else:
        click.secho("No problem; see the warnings.", fg="yellow")


def _tell_settings(settings: Iterable[Setting]) -> None:
    click.secho("Settings", bold=True)
    for setting in settings:
        click.echo(f"  {setting.name} = {setting.value}")
        click.echo(textwrap.indent(textwrap.fill(setting.doc, WIDTH), " " * 6))
    click.secho("Checks", bold=True)


def _tell(finding: Finding) -> None:
    word, colour = MARKS[finding.grade]
    click.echo(f"  {click.style(word, fg=colour)}  {finding.about}: {finding.state}")
    if finding.advice:
        click.echo(f"           {finding.advice}")


def _write(settings: Iterable[Setting], findings: Iterable[Finding]) -> None:
    checks = [
        {"about": one.about, "grade": one.grade, "state": one.state, "advice": one.advice or None}
        for one in findings
    ]
    values = {setting.name: setting.value for setting in settings}
    click.echo(json.dumps({"checks": checks, "settings": values}, indent=2, ensure_ascii=False))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy the SQLite database into FILE while everything goes on."""
    settings: Settings = current_app.extensions["settings"]
    try:
        size = back_up(settings.database_url, file)
    except DomainError as error:
        raise click.ClickException(error.detail) from None
    click.echo(f"{file}: {size:,} bytes, checked.")


@click.command("seed")
def seed_command() -> None:
    """Fill an empty database: the first admin, flags, sources and their first runs, schedules."""
    try:
        with transaction() as session:
            demo = current_app.extensions["settings"].demo
            admin = seed(session, environ=os.environ, now=clock.now(), demo=demo)
    except DomainError as error:
        raise click.ClickException(error.detail) from None
    if admin:
        _show(admin)


def _show(admin: FirstAdmin) -> None:
    """Tell the first admin's password, the only time; the rules stay out of a script's way."""
    click.echo(RULE, err=True)
    click.echo(f"Username: {admin.username}")
    click.echo(f"Password: {admin.password or 'as ADMIN_PASSWORD says'}")
    click.echo(RULE, err=True)

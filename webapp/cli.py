"""The ``flask`` commands that belong to no capability: ``doctor``, ``backup`` and ``seed``.

The others stand in ``<capability>/commands.py`` and are registered with their capability.
"""

import os
import textwrap
from pathlib import Path

import click
from flask import Flask, current_app

from webapp import clock
from webapp.backup import back_up
from webapp.db import db, transaction
from webapp.doctor import Finding, describe_settings, examine
from webapp.errors import DomainError
from webapp.seed import FirstAdmin, seed
from webapp.settings import Settings

RULE = "-" * 60
WIDTH = 100


def register_commands(app: Flask) -> None:
    """Add our commands to ``flask``."""
    app.cli.add_command(doctor)
    app.cli.add_command(backup)
    app.cli.add_command(seed_command)


@click.command()
def doctor() -> None:
    """Show the settings, what can be reached, and what to do about what cannot."""
    settings: Settings = current_app.extensions["settings"]
    click.secho("Settings", bold=True)
    for setting in describe_settings(settings):
        click.echo(f"  {setting.name} = {setting.value}")
        click.echo(textwrap.indent(textwrap.fill(setting.doc, WIDTH), " " * 6))
    click.secho("Checks", bold=True)
    problems = 0
    for finding in examine(settings, db.engine):
        _tell(finding)
        problems += not finding.good
    if problems:
        raise click.ClickException(f"{problems} problem{'s' if problems > 1 else ''}: see above.")
    click.secho("All is well.", fg="green")


def _tell(finding: Finding) -> None:
    mark = click.style("ok     ", fg="green") if finding.good else click.style("PROBLEM", fg="red")
    click.echo(f"  {mark}  {finding.about}: {finding.state}")
    if finding.advice:
        click.echo(f"           {finding.advice}")


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

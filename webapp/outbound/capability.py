"""What this capability hands to the application."""

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from webapp.outbound.clients import allow_hosts
from webapp.outbound.signatures import secret_in_force
from webapp.settings import Settings
from webapp.web.capability import Capability


@click.command("callback-secret")
@with_appcontext
def callback_secret() -> None:
    """Print the secret that callbacks are signed with."""
    settings: Settings = current_app.extensions["settings"]
    click.echo(secret_in_force(settings.callback_secret, settings.secret_key))


def _allow_hosts(app: Flask) -> None:
    settings: Settings = app.extensions["settings"]
    allow_hosts(settings.outbound_allow_hosts)


outbound = Capability(name="outbound", commands=(callback_secret,), setup=_allow_hosts)

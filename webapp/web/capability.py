"""What a capability hands to the application: its routes, its menu entry, its commands."""

from collections.abc import Callable
from dataclasses import dataclass

import click
from flask import Blueprint, Flask

from webapp.web.menu import MenuEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One line of ``CAPABILITIES`` in ``webapp.app``."""

    name: str
    blueprints: tuple[Blueprint, ...] = ()
    menu: MenuEntry | None = None
    commands: tuple[click.Command, ...] = ()
    setup: Callable[[Flask], None] | None = None


def register_capabilities(app: Flask, capabilities: tuple[Capability, ...]) -> None:
    """Register the routes, menu entries and commands of each capability, in order."""
    app.extensions["menu"] = tuple(item.menu for item in capabilities if item.menu)
    for capability in capabilities:
        for blueprint in capability.blueprints:
            app.register_blueprint(blueprint)
        for command in capability.commands:
            app.cli.add_command(command)
        if capability.setup:
            capability.setup(app)

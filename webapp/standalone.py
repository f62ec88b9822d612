"""Commands that need no application, and are had without one being built.

``flask`` builds the application to find a command in it.  A worker would build it twice then: for
its command, and again as what that becomes.
"""

import sys
from collections.abc import Sequence
from typing import Final

import click
from flask import Flask
from flask.cli import FlaskGroup

from webapp.workers.commands import worker

_COMMANDS: Final = (worker,)


def stand_in() -> Flask | None:
    """Return a bare application with the command that ``flask`` was told to run.

    None where that needs the real one, and in a process that ``flask`` did not start.
    """
    words = _words()
    for command in _COMMANDS:
        if words[:1] == [command.name]:
            app = Flask(__name__, static_folder=None)
            app.cli.add_command(command)
            return app
    return None


def _words() -> Sequence[str]:
    """Return what was typed behind ``flask`` and its own options; nothing where it did not run."""
    context = click.get_current_context(silent=True)
    if context is None:
        return []
    group = context.find_root()
    if not isinstance(group.command, FlaskGroup):
        return []
    try:
        _, words, _ = group.command.make_parser(group).parse_args(sys.argv[1:])
    except click.UsageError:
        # A program of somebody's own has called the group with other words.
        return []
    return words

"""The pattern book: every component once, for whoever builds pages.  Not in production."""

from flask import Flask, render_template

from webapp.roles import Role
from webapp.settings import Settings
from webapp.web.access import requires


def register_patterns(app: Flask, settings: Settings) -> None:
    """Serve ``/patterns`` outside production."""
    if not settings.is_production:
        app.add_url_rule("/patterns", "patterns", _patterns)


@requires(Role.VIEWER)
def _patterns() -> str:
    return render_template("patterns/index.html")

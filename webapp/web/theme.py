"""Light, dark or as the system says: what the person chose, from a cookie."""

from flask import Flask, request

THEMES = ("auto", "light", "dark")


def register_theme(app: Flask) -> None:
    """Give every template ``theme`` and ``settings``."""
    app.context_processor(lambda: {"theme": chosen_theme(), "settings": app.extensions["settings"]})


def chosen_theme() -> str:
    """Return the theme of this request; whatever is not one of them counts as auto."""
    theme = request.cookies.get("theme", "auto")
    return theme if theme in THEMES else "auto"

"""The navigation: an entry for each capability, with a live count where one wants attention."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app, request, url_for

from webapp.db import DbSession, db


@dataclass(frozen=True, slots=True)
class Attention:
    """A count beside a menu entry; ``tone`` is neutral, warning or danger."""

    count: int
    tone: str = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One entry; ``attention`` costs one statement at most, or nothing."""

    label: str
    endpoint: str
    icon: str
    attention: Callable[[DbSession], Attention | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuItem:
    """An entry as the shell draws it."""

    label: str
    url: str
    icon: str
    active: bool
    count: int | None
    tone: str


def build_menu() -> list[MenuItem]:
    """Return the items for this request, in the order of the capabilities."""
    entries: tuple[MenuEntry, ...] = current_app.extensions["menu"]
    return [_item(entry) for entry in entries]


def _item(entry: MenuEntry) -> MenuItem:
    attention = entry.attention(db.session) if entry.attention else None
    return MenuItem(
        label=entry.label,
        url=url_for(entry.endpoint),
        icon=entry.icon,
        active=entry.endpoint.partition(".")[0] in request.blueprints,
        count=attention.count if attention else None,
        tone=attention.tone if attention else "neutral",
    )


def register_menu(app: Flask) -> None:
    """Let templates call ``menu()``; a partial that does not draw it does not pay for it."""
    app.jinja_env.globals["menu"] = build_menu

"""The navigation: an entry for each capability, with a live count where one wants attention."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app, request, url_for
from sqlalchemy import ScalarSelect, select

from webapp.db import db


@dataclass(frozen=True, slots=True)
class Attention:
    """A count beside a menu entry, shown where it wants attention: ``wanted`` tells of which.

    ``count`` makes the statement; those of all entries are asked as one.  ``tone`` is neutral,
    warning or danger.
    """

    count: Callable[[], ScalarSelect[int]]
    tone: str = "danger"
    wanted: Callable[[int], bool] = bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One entry of the navigation; ``pages_of`` are further blueprints that stand below it."""

    label: str
    endpoint: str
    icon: str
    attention: Attention | None = None
    pages_of: tuple[str, ...] = ()


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
    asked = [entry.attention for entry in entries if entry.attention]
    counts = db.session.execute(select(*(item.count() for item in asked))).one() if asked else ()
    found = {id(item): count for item, count in zip(asked, counts, strict=True)}
    return [_item(entry, found.get(id(entry.attention), 0)) for entry in entries]


def _item(entry: MenuEntry, count: int) -> MenuItem:
    attention = entry.attention
    shown = attention is not None and attention.wanted(count)
    return MenuItem(
        label=entry.label,
        url=url_for(entry.endpoint),
        icon=entry.icon,
        active=not {entry.endpoint.partition(".")[0], *entry.pages_of}.isdisjoint(
            request.blueprints
        ),
        count=count if shown else None,
        tone=attention.tone if attention else "neutral",
    )


def register_menu(app: Flask) -> None:
    """Let templates call ``menu()``; a partial that does not draw it does not pay for it."""
    app.jinja_env.globals["menu"] = build_menu

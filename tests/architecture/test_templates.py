"""Rules of templates: what a partial is called, what none may hold, which icons there are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from flask import Flask
from jinja2 import nodes

from tests.architecture.markup import (
    TEMPLATES,
    Element,
    included,
    static_elements,
    templates,
    without_macros,
)
from webapp.web.htmx import partial_id
from webapp.web.security import HEADERS

ROOT = TEMPLATES.parent
SPRITE = ROOT / "static" / "vendor" / "icons.svg"

# The frame of every page and the specimens of the pattern book: nobody asks for them alone.
NO_TARGETS = ("shell/", "patterns/", "macros/")
TONES = frozenset({"", "accent", "danger", "info", "neutral", "primary", "quiet", "success"}) | {
    "warning",
    "default",
}


def partials() -> list[str]:
    return [
        name
        for name, _ in templates()
        if Path(name).name.startswith("_") and not name.startswith(NO_TARGETS)
    ]


def root_of(name: str) -> Element | None:
    """The first element that a template writes, None where it writes text or macros only."""
    text = without_macros(dict(templates())[name])
    return next(iter(static_elements(text)), None)


def rendered_partials() -> Iterator[tuple[str, str, list[str]]]:
    """Yield where a view calls ``render``, its page and its partials."""
    for path in sorted((ROOT / "webapp").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "render":
                names = [item.value for item in call.args if isinstance(item, ast.Constant)]
                place = f"{path.relative_to(ROOT)}:{call.lineno}"
                yield place, str(names[0]), [str(name) for name in names[1:]]


def test_a_partial_that_htmx_asks_for_has_its_path_as_id() -> None:
    """The server chooses the partial by the target's id, so the two must be one name."""
    wrong = [
        f"{place}: {name}"
        for place, _, names in rendered_partials()
        for name in names
        if (root := root_of(name)) is None or root.get("id") != partial_id(name)
    ]
    assert wrong == []


def test_a_partial_with_an_id_has_its_path_as_id() -> None:
    """A partial that stands many times in a page has its key behind it."""
    wrong = [
        f"{name}: {root.get('id')}"
        for name in partials()
        if (root := root_of(name)) and "id" in root.attributes
        if root.get("id").removesuffix("-") != partial_id(name)
    ]
    assert wrong == []


def test_every_template_that_a_view_renders_exists() -> None:
    known = {name for name, _ in templates()}
    wanted = {name for _, page, names in rendered_partials() for name in (page, *names)}
    assert wanted - known == set()


def test_a_live_part_is_a_partial_that_its_view_can_answer() -> None:
    """One that no view renders alone would be swapped for the whole page."""
    answered = {name for _, _, names in rendered_partials() for name in names}
    wrong = [
        name
        for name, text in templates()
        if not name.startswith(NO_TARGETS)
        for element in static_elements(text)
        if element.get("hx-target") == "this" and name not in answered
    ]
    assert wrong == []


def test_every_htmx_target_is_a_partial() -> None:
    ids = {f"#{partial_id(name)}" for name in partials()} | {"this"}
    wrong = [
        f"{name}: {element.get('hx-target')}"
        for name, text in templates()
        if not name.startswith(NO_TARGETS)
        for element in static_elements(text)
        if "hx-target" in element.attributes and element.get("hx-target") not in ids
    ]
    assert wrong == []


def test_what_is_polled_holds_no_form_and_no_csrf_token() -> None:
    """The token differs in every answer, so no answer would ever equal the one before."""
    polled = [name for name in partials() if (root := root_of(name)) and is_polled(name, root)]
    assert len(polled) > 5
    wrong = [
        f"{name} includes {inner}" if inner != name else name
        for name in polled
        for inner, text in included(name)
        if re.search(r"<form\b|\bcsrf\b|csrf_token", text)
    ]
    assert wrong == []


def is_polled(name: str, root: Element) -> bool:
    # The attribute may stand in a condition, which is left out with the statements' text only.
    return "data-live" in root.attributes or "data-live" in dict(templates())[name]


REFUSED = {
    "style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "style element": re.compile(r"<style\b", re.IGNORECASE),
    "inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "event handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "htmx handler": re.compile(r"\shx-on[:=-]|\shx-vals=['\"]js:", re.IGNORECASE),
    "script address": re.compile(r"=['\"]\s*javascript:", re.IGNORECASE),
    "foreign file": re.compile(r"(?:src|<link[^>]*href)=['\"](?:https?:)?//", re.IGNORECASE),
    "switched-off escaping": re.compile(r"\|\s*safe\b|autoescape\s+false"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_templates_hold_nothing_that_the_policy_refuses(kind: str) -> None:
    assert [name for name, text in templates() if REFUSED[kind].search(text)] == []


def test_the_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
def test_every_named_icon_is_in_the_sprite(app: Flask) -> None:
    wanted = {
        (name, icon) for name, text in templates() for icon in icons_in(app.jinja_env.parse(text))
    }
    wanted |= {("menu", entry.icon) for entry in app.extensions["menu"]}
    assert len(wanted) > 30
    assert sorted((name, icon) for name, icon in wanted if icon not in sprite()) == []


def sprite() -> set[str]:
    root = ET.parse(SPRITE).getroot()  # noqa: S314 - a file of our own
    return {element.get("id", "") for element in root.iter() if element.tag.endswith("symbol")}


def icons_in(template: nodes.Template) -> Iterator[str]:
    """Yield the icons that a template names: to ``icon``, as ``icon_name``, or after a tone."""
    for call in template.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "icon":
            yield from constants(call.args[:1])
        yield from constants([item.value for item in call.kwargs if item.key == "icon_name"])
        yield from after_tone(call.args)
    for row in template.find_all(nodes.Tuple):
        yield from after_tone(row.items)


def after_tone(items: list[nodes.Expr]) -> Iterator[str]:
    """Yield the third of three where the second is a tone: (words, tone, icon)."""
    if len(items) == 3 and isinstance(items[1], nodes.Const) and items[1].value in TONES:
        yield from constants(items[2:])


def constants(items: list[nodes.Expr]) -> Iterator[str]:
    """Yield the texts among expressions, and in the branches of conditions."""
    for item in items:
        if isinstance(item, nodes.Const) and isinstance(item.value, str):
            yield item.value
        elif isinstance(item, nodes.CondExpr):
            yield from constants([item.expr1, *([item.expr2] if item.expr2 else [])])

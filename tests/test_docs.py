"""The documentation, held to the code: links lead somewhere, and what it tells to type exists."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from flask import Flask
from flask.cli import FlaskGroup

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
MAKE = re.compile(r"(?:^|[\s;&|])make ([a-z][a-z-]*)", re.MULTILINE)
FLASK = re.compile(r"(?:^|[\s;&|/(])flask ([a-z][a-z -]*)", re.MULTILINE)
VARIABLE = re.compile(r"\b([A-Z][A-Z_]{2,})=")
SETTING_ROW = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)
# The shell's own, and those of Docker and of Python.
SHELL_VARIABLES = {"PATH", "TOKEN", "COMPOSE_FILE", "SSL_CERT_FILE"}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_in(text: str) -> Iterator[str]:
    """Yield what is marked as code: whole blocks, and words in a line."""
    yield from (body for _, body in FENCE.findall(text))
    yield from INLINE_CODE.findall(FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the names under which a page's headings can be linked to."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place.read_text())):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_first() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = LINK.findall(FENCE.sub("", page.read_text()))
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links if link]
    assert [shown(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for code in code_in(page.read_text()) for name in MAKE.findall(code)}
    assert named - targets == set()


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(.*)$", makefile, re.MULTILINE)
    assert [name for name, rest in targets if " ## " not in rest] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
def test_every_flask_command_that_is_named_exists(app: Flask) -> None:
    unknown = [
        f"{shown(page)}: flask {words}"
        for page in PAGES
        for code in code_in(page.read_text())
        for words in FLASK.findall(code)
        if not is_command(app, words.split())
    ]
    assert unknown == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
def test_every_command_of_ours_is_described(app: Flask) -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    ours = [name for name in commands(app.cli) if not name.startswith("db ")]
    assert len(ours) > 5
    assert [name for name in ours if f"`flask {name}" not in text] == []


def commands(group: click.Group, before: str = "") -> Iterator[str]:
    """Yield the full names of the application's own commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def is_command(app: Flask, words: list[str]) -> bool:
    """Tell whether the first of these words are a whole command; the rest are its arguments."""
    command: click.Command | None = FlaskGroup(create_app=lambda: app)
    for word in words:
        if not isinstance(command, click.Group):
            return True
        with click.Context(command) as context:
            command = command.get_command(context, word)
    return command is not None


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_variable_that_is_set_in_an_example_is_a_setting(page: Path) -> None:
    settings = set(SETTING_ROW.findall((ROOT / "docs" / "settings.md").read_text()))
    named = {name for code in code_in(page.read_text()) for name in VARIABLE.findall(code)}
    assert named - settings - SHELL_VARIABLES == set()


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_name_that_an_example_imports_exists(page: Path) -> None:
    blocks = [body for kind, body in FENCE.findall(page.read_text()) if kind == "python"]
    wrong = [
        f"{node.module}.{alias.name}"
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if not hasattr(import_module(node.module), alias.name)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Paths in code words that begin with a folder of ours and have no place to fill in."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"instance"}
    named = {
        word
        for word in INLINE_CODE.findall(FENCE.sub("", page.read_text()))
        if "/" in word and word.partition("/")[0] in folders and not re.search(r"[<>*… ]", word)
    }
    assert [word for word in sorted(named) if not (ROOT / word.rstrip("/")).exists()] == []

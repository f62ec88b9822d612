"""Every setting stands in docs/settings.md with its default, and nothing else does."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from webapp.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "settings.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.*?) \| (.+?) \|$", re.MULTILINE)

# Where variables are read that the application does not know of, or knows by another name.
READERS = (
    "Makefile",
    "Procfile",
    "gunicorn.conf.py",
    "scripts",
    "tests/servers.py",
    "webapp/seed.py",
    "webapp/settings.py",
)
# python, shell, make
READ = re.compile(
    r"environ(?:\.get\(|\[)[\"']([A-Z_]+)[\"']|\$\{([A-Z_]+):-|^([A-Z_]+) \?=", re.MULTILINE
)
READ_FROM_MAPPING = re.compile(r"(?:source|environ)\.get\(\"([A-Z_]+)\"")
# Set by one of our processes for another, or by the system.
NOT_SETTINGS = {"PATH"}


def section(title: str) -> dict[str, str]:
    """Return the table below a heading: the name of each variable, and its default."""
    text = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return {name: default for name, default, _ in ROW.findall(text)}


def written(value: Any) -> str:
    """Write a default as the page does."""
    if value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{value:.0f}`"
    return f"`{value}`"


def test_every_setting_of_the_application_is_described_with_its_default() -> None:
    settings = {field.metadata["name"]: written(field.default) for field in fields(Settings)}
    assert section("The application") == settings


def test_every_other_variable_that_is_read_is_described() -> None:
    found = {
        name
        for place in READERS
        for path in files_in(ROOT / place)
        for match in (*READ.findall(path.read_text()), *READ_FROM_MAPPING.findall(path.read_text()))
        for name in ([match] if isinstance(match, str) else match)
        if name
    }
    settings = {field.metadata["name"] for field in fields(Settings)}
    assert set(section("The processes")) | set(section("Set-up and tests")) == (
        found - settings - NOT_SETTINGS
    )


def test_every_variable_of_the_compose_files_is_described() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("docker-compose*.yml"))
    named = set(re.findall(r"\$\{([A-Z_]+)", text))
    settings = {field.metadata["name"] for field in fields(Settings)}
    assert named - settings - set(section("The processes")) == set(section("The compose files"))


def files_in(path: Path) -> list[Path]:
    if path.is_dir():
        return [item for item in sorted(path.iterdir()) if item.suffix in {".py", ".sh"}]
    return [path]

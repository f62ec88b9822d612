"""The vendored files are the ones that were fetched, and each has its licence beside it."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "static" / "vendor"
LOCK: dict[str, Any] = json.loads((VENDOR / "lock.json").read_text())


def test_the_lock_names_every_vendored_file() -> None:
    present = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert present - {"lock.json"} == set(LOCK["sha256"])


@pytest.mark.parametrize("name", sorted(LOCK["sha256"]))
def test_a_vendored_file_is_the_one_that_was_fetched(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == LOCK["sha256"][name]


@pytest.mark.parametrize("package", LOCK["packages"], ids=lambda package: package["name"])
def test_a_package_is_pinned_and_comes_with_its_licence(package: dict[str, Any]) -> None:
    assert package["version"].count(".") == 2
    assert package["integrity"].startswith("sha512-")
    assert package["licence"]
    assert any(target.startswith("licences/") for target in package["files"].values())


def test_the_lock_names_no_host() -> None:
    assert "://" not in json.dumps(LOCK)


def test_the_sprite_holds_every_icon_of_the_lock_and_the_patterns_show_it() -> None:
    sprite = (VENDOR / "icons.svg").read_text()
    icons = next(package["icons"] for package in LOCK["packages"] if "icons" in package)
    assert all(f'<symbol id="{name}"' in sprite for name in icons)
    specimens = (ROOT / "templates" / "patterns" / "_marks.html").read_text()
    assert [name for name in icons if f'"{name}"' not in specimens] == []


def test_every_icon_that_is_asked_for_by_name_is_in_the_sprite() -> None:
    sprite = (VENDOR / "icons.svg").read_text()
    templates = (ROOT / "templates").rglob("*.html")
    modules = (ROOT / "webapp").rglob("capability.py")
    named = {
        name
        for path in (*templates, *modules)
        for name in re.findall(r'\b(?:icon\(|icon=|icon_name=)"([a-z0-9-]+)"', path.read_text())
    }
    assert named
    assert {name for name in named if f'<symbol id="{name}"' not in sprite} == set()

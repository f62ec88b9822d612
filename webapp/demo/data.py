"""What the demo serves: metropolitan areas with their airports, and what is new in this console."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import airportsdata

CHANGELOG: Final = Path(__file__).resolve().parents[2] / "CHANGELOG.md"
AREAS_IN_PAGE: Final = 10


@cache
def areas() -> tuple[dict[str, Any], ...]:
    """Return the metropolitan areas by code, as IATA names them."""
    return tuple(
        {
            "code": code,
            "name": area["name"],
            "country": area["country"],
            "airports": sorted(area["airports"]),
        }
        for code, area in sorted(airportsdata.load_iata_macs().items())
    )


def page_of_areas(after: str) -> dict[str, Any]:
    """Return the areas behind a code, and in ``next`` where the page after begins, else null."""
    rest = [area for area in areas() if area["code"] > after]
    items = rest[:AREAS_IN_PAGE]
    return {"items": items, "next": items[-1]["code"] if len(rest) > len(items) else None}


@cache
def news() -> bytes:
    """Return what is new in this console as RSS 2.0; an image holds no changelog, and no news."""
    feed = ET.Element("rss", version="2.0")
    channel = ET.SubElement(feed, "channel")
    _add(channel, "title", "What is new in Switchyard")
    _add(channel, "description", "The entries of its changelog")
    lines = CHANGELOG.read_text(encoding="utf-8").splitlines() if CHANGELOG.is_file() else []
    release = part = ""
    for line in lines:
        if line.startswith("## "):
            release = line.removeprefix("## ").strip("[]")
        elif line.startswith("### "):
            part = line.removeprefix("### ")
        elif line.startswith("- "):
            _add_entry(channel, line.removeprefix("- "), f"{release}, {part}")
    text: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return text


def _add_entry(channel: ET.Element, text: str, category: str) -> None:
    item = ET.SubElement(channel, "item")
    _add(item, "guid", hashlib.sha256(text.encode()).hexdigest()[:16], isPermaLink="false")
    _add(item, "title", text.partition(":")[0].partition(".")[0])
    _add(item, "description", text)
    _add(item, "category", category)


def _add(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text

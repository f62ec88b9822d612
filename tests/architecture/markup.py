"""Templates as text and as answers: their elements, without running a browser."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"

_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_MACRO = re.compile(r"\{%-?\s*macro\b.*?\{%-?\s*endmacro\s*-?%\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Element:
    """A start tag; an attribute without a value has the empty text."""

    tag: str
    attributes: dict[str, str]

    def get(self, name: str) -> str:
        """Return an attribute, the empty text where it is absent."""
        return self.attributes.get(name, "")


class _Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))


def elements_of(html: str) -> list[Element]:
    """Return the start tags of an answer, in order."""
    collector = _Collector()
    collector.feed(html)
    collector.close()
    return collector.elements


def templates() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every template, without comments."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        yield path.relative_to(TEMPLATES).as_posix(), _COMMENT.sub("", path.read_text())


def static_elements(text: str) -> list[Element]:
    """Return a template's own start tags, with whatever is computed left out."""
    return elements_of(_EXPRESSION.sub("", _STATEMENT.sub("", text)))


def without_macros(text: str) -> str:
    """Return what a template writes by itself."""
    return _MACRO.sub("", text)


def included(name: str) -> Iterator[tuple[str, str]]:
    """Yield a template and whatever it includes, by name and text."""
    text = _COMMENT.sub("", (TEMPLATES / name).read_text())
    yield name, text
    for inner in re.findall(r"\{%-?\s*include\s+\"([^\"]+)\"", text):
        yield from included(inner)

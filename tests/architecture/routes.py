"""The application's routes as tests go through them: all of them, with addresses filled in."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Flask
from werkzeug.routing import IntegerConverter, Rule

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Route:
    """One way to reach a view; ``access`` is what its marker says, None where it has none."""

    endpoint: str
    method: str
    rule: str
    url: str
    access: object

    @property
    def writes(self) -> bool:
        """Tell whether a request may change something."""
        return self.method not in SAFE_METHODS


def routes_of(app: Flask) -> Iterator[Route]:
    """Yield every route but the static files, once for each method that does something."""
    for rule in sorted(app.url_map.iter_rules(), key=str):
        if rule.endpoint == "static":
            continue
        access = getattr(app.view_functions[rule.endpoint], "access", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Route(rule.endpoint, method, str(rule), _address(app, rule), access)


def _address(app: Flask, rule: Rule) -> str:
    """Fill the places of a rule in with values that belong to nothing."""
    values = {
        name: 9_999_999 if isinstance(converter, IntegerConverter) else "nothing"
        for name, converter in rule._converters.items()
    }
    return app.url_map.bind("localhost").build(rule.endpoint, values)

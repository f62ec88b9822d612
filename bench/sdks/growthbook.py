"""GrowthBook: one instance with the features as a dict, its attributes set for each subject."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from growthbook import GrowthBook

from question import FLAG, RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST, Decide

DIFFERS: Final = ""


@contextmanager
def decider() -> Iterator[Decide]:
    """Without a client key there is no service to ask, and without a callback nobody to tell."""
    book = GrowthBook(features={FLAG: {"defaultValue": False, "rules": _rules()}})

    def decide(subject: str, attributes: Mapping[str, str]) -> bool:
        book.set_attributes({"id": subject, **attributes})
        return bool(book.is_on(FLAG))

    yield decide
    book.destroy()


def _rules() -> list[dict[str, Any]]:
    """A rule that does not cover a subject passes it on; one seed keeps it in one bucket."""
    bucket = {"force": True, "hashAttribute": "id", "hashVersion": 2, "seed": FLAG}
    fits = {"plan": {"$in": list(RULE_PLANS)}, "country": {"$in": list(RULE_COUNTRIES)}}
    return [
        {"condition": {"id": {"$in": list(WHITELIST)}}, "force": True},
        {**bucket, "condition": fits, "coverage": RULE_SHARE / 100},
        {**bucket, "coverage": SHARE / 100},
    ]

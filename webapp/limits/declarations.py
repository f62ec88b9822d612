"""Who keeps rules for the names of guards: each owner hands over a statement that reads its own.

So what is owned stays in one table, and nothing here knows which.
"""

from collections.abc import Mapping

from sqlalchemy import Select

#: The name without its prefix, a kind, and its own numbers: calls and seconds, see
#: ``policy.rule_of``.
Rows = Select[tuple[str, str, int | None, int | None]]

_declarations: dict[str, Rows] = {}


def declare_rules(prefix: str, rows: Rows) -> None:
    """Have these rows say which rules hold for names that begin with ``prefix``."""
    _declarations[prefix] = rows


def declarations() -> Mapping[str, Rows]:
    """Return what has been handed over, by prefix."""
    return _declarations

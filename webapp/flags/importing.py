"""Reads an export as it was written, and imports it.

What cannot be read of it is told under its name, beside what the import refuses.  It never commits.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from webapp.actors import Actor
from webapp.db import DbSession
from webapp.flags.planning import Results, refused
from webapp.flags.schemas import FlagsToImport, FlagToImport, GroupToImport, SegmentToImport
from webapp.flags.transfer import Wanted, import_all
from webapp.flags.values import MAX_NAME
from webapp.web.schemas import invalid

#: Lists of ids are long; what was exported must fit back in.
MOST_BYTES: Final = 32 * 1024 * 1024

# What flags refer to comes before them.
_KINDS: Final[Mapping[str, type[GroupToImport | SegmentToImport | FlagToImport]]] = {
    "groups": GroupToImport,
    "segments": SegmentToImport,
    "flags": FlagToImport,
}


def import_document(
    session: DbSession,
    body: FlagsToImport,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    dry_run: bool = False,
) -> dict[str, Results]:
    """Take what a document names; returns what became of it by kind and name, in their order.

    Nothing is written where something is refused or cannot be read, nor in a dry run.
    """
    wanted, unreadable = _read(body)
    tries = dry_run or any(unreadable.values())
    taken = import_all(session, wanted, by=by, now=now, reason=reason, dry_run=tries)
    return {kind: _merged(getattr(taken, kind), unreadable[kind]) for kind in _KINDS}


def _read(body: FlagsToImport) -> tuple[Wanted, dict[str, Results]]:
    """Return what can be read, and what is wrong with the rest, by kind and name."""
    wanted: dict[str, list[Any]] = {}
    unreadable: dict[str, Results] = {}
    for kind, schema in _KINDS.items():
        wanted[kind], unreadable[kind] = [], {}
        for number, item in enumerate(getattr(body, kind)):
            try:
                wanted[kind].append(schema.model_validate_json(json.dumps(item)).wanted())
            except ValidationError as error:
                name = _name_of(item, f"{kind}.{number}")
                unreadable[kind][name] = refused(invalid(error))
    return Wanted(**wanted), unreadable


def _name_of(item: Any, place: str) -> str:
    """Return a name to speak of something by, also where it has none."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= MAX_NAME else place


def _merged(taken: Results, unreadable: Results) -> Results:
    return dict(sorted((taken | unreadable).items()))

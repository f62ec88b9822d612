"""Takes flags over from a document of any system, and tells what became of each.

It never commits.  In a dry run nothing is written, nor where something is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from webapp.actors import Actor
from webapp.adoptions.adoption import Adoption, Notes
from webapp.adoptions.from_flagd import adopt_flagd
from webapp.adoptions.from_unleash import adopt_unleash
from webapp.adoptions.schemas import FlagdFile, UnleashExport
from webapp.db import DbSession
from webapp.errors import Invalid
from webapp.flags.importing import import_document
from webapp.flags.planning import Results, WantedFlag
from webapp.flags.schemas import FlagsToImport
from webapp.flags.transfer import Wanted, import_all
from webapp.web.schemas import parse_json


class System(StrEnum):
    """Whose document it is."""

    SWITCHYARD = "switchyard"
    UNLEASH = "unleash"
    FLAGD = "flagd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is to be taken over; of another system, the environment that flags are for, or None."""

    system: System
    text: bytes
    environment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of everything in a document: ``results`` by kind and name.

    ``notes`` says what of a flag does not come along, ``left_out`` why others do not at all.
    """

    results: Mapping[str, Results]
    notes: Notes = field(default_factory=dict)
    left_out: Notes = field(default_factory=dict)


def take_document(
    session: DbSession,
    document: Document,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    dry_run: bool = False,
) -> Taken:
    """Take over what a document holds; :class:`Invalid` where it cannot be read as a whole."""
    if document.system is not System.SWITCHYARD:
        adoption = _READERS[document.system](document.text, document.environment)
        return take_adoption(session, adoption, by=by, now=now, reason=reason, dry_run=dry_run)
    if document.environment:
        raise Invalid.field("environment", "An export of a console names its environments.")
    body = parse_json(FlagsToImport, document.text, what=_IT)
    results = import_document(session, body, by=by, now=now, reason=reason, dry_run=dry_run)
    return Taken(results=results)


def take_adoption(
    session: DbSession,
    adoption: Adoption,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    dry_run: bool = False,
) -> Taken:
    """Take over flags of another system."""
    wanted = Wanted(
        flags=[WantedFlag(name=name, changes=found) for name, found in adoption.flags.items()]
    )
    taken = import_all(session, wanted, by=by, now=now, reason=reason, dry_run=dry_run)
    return Taken(
        results={"flags": dict(sorted(taken.flags.items()))},
        notes=adoption.notes,
        left_out=adoption.left_out,
    )


def _unleash(text: bytes, environment: str | None) -> Adoption:
    return adopt_unleash(parse_json(UnleashExport, text, what=_IT), environment)


def _flagd(text: bytes, environment: str | None) -> Adoption:
    return adopt_flagd(parse_json(FlagdFile, text, what=_IT), environment)


_IT: Final = "This"
_READERS: Final[Mapping[System, Callable[[bytes, str | None], Adoption]]] = {
    System.UNLEASH: _unleash,
    System.FLAGD: _flagd,
}

"""The form of an import: whose document, the document itself, and why.

Nothing is kept on the server: what was chosen once comes back as text, pressed together, and is
sent again with the next look and with the import.  Knows neither Flask nor the database.
"""

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NoBase64
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from webapp.adoptions.service import System
from webapp.errors import FieldErrors, Invalid
from webapp.flags.importing import MOST_BYTES

#: Of a document that does not let itself be pressed, and what stands beside it.
MOST_FORM_BYTES: Final = 45 * 1024 * 1024
SYSTEMS: Final[Mapping[System, str]] = {
    System.SWITCHYARD: "This console, or another one",
    System.UNLEASH: "Unleash",
    System.FLAGD: "flagd",
}
# So much text is left where it was typed.
_MOST_TYPED: Final = 64 * 1024
_MOST_MESSAGES: Final = 5
_MARK: Final = "\N{BYTE ORDER MARK}".encode()
_MISSING: Final = "Choose a file, or paste what is in it."
_TOO_LONG: Final = f"Use at most {MOST_BYTES // 2**20} MiB."


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportForm:
    """The fields as text; ``kept`` is a document that was sent before, ``title`` what it goes by.

    ``show`` says which part of what would happen is looked at, ``reviewed`` which whole of it was.
    """

    system: str = System.SWITCHYARD
    environment: str = ""
    reason: str = ""
    pasted: str = ""
    kept: str = ""
    title: str = ""
    show: str = ""
    reviewed: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "ImportForm":
        """Take what a browser sent, besides a file."""
        names = {item.name for item in fields(cls)} - {"errors"}
        given: dict[str, Any] = {name: sent[name] for name in names & set(sent)}
        return cls(**given)

    def whose(self) -> System:
        """Return whose document it is."""
        if self.system not in set(System):
            raise Invalid.field("system", "Choose one of these.")
        return System(self.system)

    def place(self) -> str | None:
        """Return the environment that is named."""
        return self.environment.strip() or None

    def document(self, file: bytes | None) -> bytes:
        """Return the document: a file that was chosen, else what was pasted, else what was kept."""
        if file is not None and self.pasted.strip():
            raise Invalid.field("document", "Choose a file or paste text, not both.")
        if file is not None:
            found, missing = file, "The file is empty."
        elif self.pasted.strip():
            found, missing = self.pasted.encode("utf-8", "surrogatepass"), _MISSING
        else:
            found, missing = _unpacked(self.kept), _MISSING
        found = found.removeprefix(_MARK)
        if len(found) > MOST_BYTES:
            raise Invalid.field("document", _TOO_LONG)
        if not found.strip():
            raise Invalid.field("document", missing)
        return found

    def keeping(self, document: bytes, title: str) -> "ImportForm":
        """Return the form with a document to be sent again, short text where it was typed."""
        if self.pasted and len(document) <= _MOST_TYPED:
            return replace(self, kept="", title="")
        title = title or ("Pasted text" if self.pasted else self.title)
        return replace(self, pasted="", kept=_packed(document), title=title)

    def refused(self, errors: FieldErrors, document: bytes | None = None) -> "ImportForm":
        """Return the form with messages at its fields; those of no field are of the document."""
        own = {name: errors[name] for name in ("system", "environment", "reason") if name in errors}
        told = [
            message if name == "document" else f"{name}: {message}"
            for name, messages in errors.items()
            if name not in own
            for message in messages
        ]
        if told and (other := _system_of(document)) and other != self.system:
            told.insert(0, f"It looks like a document of {_NAMES[other]}: say so above.")
        rest = len(told) - _MOST_MESSAGES
        told = told[:_MOST_MESSAGES] + ([f"And {rest:,} more like these."] if rest > 0 else [])
        return replace(self, errors=own | ({"document": told} if told else {}))


_NAMES: Final[Mapping[System, str]] = {**SYSTEMS, System.SWITCHYARD: "a console"}


def _packed(document: bytes) -> str:
    return urlsafe_b64encode(zlib.compress(document)).decode()


def _unpacked(text: str) -> bytes:
    """Return a document that was kept, and no more of it than a document may have."""
    if not text:
        return b""
    try:
        return zlib.decompressobj().decompress(urlsafe_b64decode(text), MOST_BYTES + 1)
    except (NoBase64, ValueError, zlib.error):
        message = "What was looked at did not come back whole: choose the file again."
        raise Invalid.field("document", message) from None


def _system_of(document: bytes | None) -> System | None:
    """Say whose document this looks like, None where that is not plain to see."""
    try:
        found = json.loads(document or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if "format" in found:
        return System.SWITCHYARD
    if "features" in found:
        return System.UNLEASH
    return System.FLAGD if isinstance(found.get("flags"), dict) else None

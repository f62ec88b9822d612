"""Answers OFREP before Flask is asked, see ``webapp.web.before_flask``."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final
from wsgiref.types import WSGIEnvironment

from flask import Flask

from webapp.flags.snapshot import FlagStore
from webapp.ofrep.answers import answer_all, answer_one
from webapp.web.access import Principal
from webapp.web.before_flask import Answered, BeforeFlask, circumstances_of, stand_before
from webapp.web.etags import holds

ADDRESS: Final = "/ofrep/v1/evaluate/flags"
# Other names are no flag's, and what they are as text is the views' to find out.
_ASKED: Final = re.compile(rf"{ADDRESS}(?:|/[ -.0-~]+)").fullmatch


@dataclass(frozen=True, slots=True)
class OfrepShortCut(BeforeFlask):
    """Decides by the flags of ``store``."""

    BEGINNING: ClassVar[bytes] = f"POST {ADDRESS}".encode()

    store: FlagStore

    def asked(self, environ: WSGIEnvironment) -> str | None:
        """Return the path of the flag that is asked for, or of all."""
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(ADDRESS):
            return None
        asks = environ["REQUEST_METHOD"] == "POST" and not environ.get("QUERY_STRING")
        return path if asks and _ASKED(path) else None

    def answered(
        self, asked: str, body: bytes, who: Principal, environ: WSGIEnvironment
    ) -> Answered:
        """Decide one flag, or all."""
        if asked != ADDRESS:
            key = asked[len(ADDRESS) + 1 :]
            return answer_one(self.store, key, body, bound=who.environment)
        known = holds(environ.get("HTTP_IF_NONE_MATCH"))
        return answer_all(self.store, body, bound=who.environment, known=known)


def register_short_cut(app: Flask) -> None:
    """Answer before Flask, from the flags that the application holds."""
    store: FlagStore = app.extensions["flag_store"]
    around = circumstances_of(app)
    stand_before(app, lambda behind: OfrepShortCut(behind, store=store, **around))

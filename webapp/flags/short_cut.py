"""Answers the JSON API's evaluations before Flask is asked, see ``webapp.web.before_flask``.

It answers only what comes out as 200.  No SQL, no Redis and no session work is done here: flags and
tokens are what this process has in memory.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Final
from wsgiref.types import WSGIEnvironment

from flask import Flask

from webapp.flags.answers import answer_many, answer_one
from webapp.flags.schemas import BulkQuestion, Question
from webapp.flags.snapshot import FlagStore
from webapp.web.access import Principal
from webapp.web.before_flask import Answered, BeforeFlask, circumstances_of, stand_before

PREFIX: Final = "/api/v1/feature-flags/"
BULK: Final = "evaluate-bulk"
# What the views decode, or refuse as no text, is theirs: here are printable ASCII characters only.
# A flag may bear the name of the other address: that one is rare, and goes the long way.
_ASKED: Final = re.compile(
    rf"{PREFIX}(?:({BULK})|(?!{BULK}/)([ -.0-~]+)/(?:evaluate|check))"
).fullmatch


@dataclass(frozen=True, slots=True)
class EvaluationShortCut(BeforeFlask):
    """Decides by the flags of ``store``."""

    BEGINNING: ClassVar[bytes] = f"POST {PREFIX}".encode()

    store: FlagStore

    def asked(self, environ: WSGIEnvironment) -> str | None:
        """Return the name of the flag that is asked for, BULK for many."""
        if environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
            return None
        found = _ASKED(environ.get("PATH_INFO", ""))
        return found[1] or found[2] if found else None

    def answered(
        self,
        asked: str,
        body: bytes,
        who: Principal,
        environ: WSGIEnvironment,  # noqa: ARG002  # the shape of every short cut
    ) -> Answered:
        """Decide one flag, or many."""
        # An absent body is an empty question.
        body = body or b"{}"
        if asked == BULK:
            many = BulkQuestion.model_validate_json(body)
            return Answered(answer_many(self.store, many, bound=who.environment))
        one = Question.model_validate_json(body)
        return Answered(answer_one(self.store, asked, one, bound=who.environment))


def register_short_cut(app: Flask) -> None:
    """Answer before Flask, from the flags that the application holds."""
    store: FlagStore = app.extensions["flag_store"]
    around = circumstances_of(app)
    stand_before(app, lambda behind: EvaluationShortCut(behind, store=store, **around))

"""What every request gets: an id in its answer and its log lines, and its transaction's kind."""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.routing import IntegerConverter, Map

from webapp import traces
from webapp.db import MOST_ID, mark_writing
from webapp.settings import Settings

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,128}\Z")
View = TypeVar("View", bound=Callable[..., object])
_PIECE = 65_536
_READING_OUT_SECONDS = 15.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class RowId(IntegerConverter):
    """The id of a row in an address: at most 64 bits, as in the database."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, min=1, max=MOST_ID)


def register_requests(app: Flask) -> None:
    """Name each request, and say before its first statement whether it will write."""
    app.url_map.converters["int"] = RowId
    # Else "//" in a path is answered by a redirect to whatever the Host header says.
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.after_request(_name)
    app.after_request(_read_out)
    app.teardown_request(_end)


def accepts(most_bytes: int) -> Callable[[View], View]:
    """Let a view take a JSON body of more bytes than others do."""

    def mark(view: View) -> View:
        view.most_bytes = most_bytes  # type: ignore[attr-defined]
        return view

    return mark


def accepts_form(most_bytes: int) -> Callable[[View], View]:
    """Let a view take a form of more bytes than others do, from whoever may use it at all."""

    def mark(view: View) -> View:
        view.most_form_bytes = most_bytes  # type: ignore[attr-defined]
        return view

    return mark


def makes(view: View) -> View:
    """Say that a view makes something new each time: what is sent twice is there twice."""
    view.makes = True  # type: ignore[attr-defined]
    return view


def writes_nothing(view: View) -> View:
    """Say that a view only looks, though its form is sent as one that writes is.

    On SQLite it then holds nobody up who writes, however long it looks.
    """
    view.begins_reading = True  # type: ignore[attr-defined]
    return view


def reads_first(view: View) -> View:
    """Say that what a view calls reads and decides first, and takes the lock when it has.

    Until then it holds nobody up who writes, as above.
    """
    view.begins_reading = True  # type: ignore[attr-defined]
    return view


def current_settings() -> Settings:
    """Return the settings of the application that this request is for."""
    settings: Settings = current_app.extensions["settings"]
    return settings


def most_form_bytes() -> int | None:
    """Return how large a form this view takes, None where it is no more than others take."""
    most_bytes: int | None = getattr(_view(), "most_form_bytes", None)
    return most_bytes


def _view() -> object:
    """Return the view that answers this request, None where there is none."""
    return current_app.view_functions.get(request.endpoint or "")


def refuse_nul(*given: str) -> None:
    """Refuse what no text can hold: PostgreSQL would, in the middle of a statement."""
    if any("\0" in text for text in given):
        raise BadRequest("A NUL character is no part of any text here.")


def texts_of(values: MultiDict[str, str]) -> Iterator[str]:
    """Yield all that was sent, names and values."""
    for pair in values.items(multi=True):
        yield from pair


def request_id() -> str:
    """Return the id of this request."""
    return str(g.request_id)


def id_to_use(given: str) -> str:
    """Return the id that a request brought, a new one where that is none."""
    if given and _REQUEST_ID.match(given):
        return given
    # It names, it does not protect: the kernel need not be asked for each.  A fork is seeded anew.
    return f"{random.getrandbits(128):032x}"


def _begin() -> None:
    g.request_id = id_to_use(request.headers.get("X-Request-ID", ""))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    traces.note({"request.id": g.request_id})
    reads = request.method in SAFE_METHODS or getattr(_view(), "begins_reading", False)
    mark_writing(writing=not reads)
    _widen()
    refuse_nul(request.path, *texts_of(request.args))
    if most_form_bytes() is None:
        refuse_nul(*texts_of(request.form))


def _widen() -> None:
    """Lift the limit of the body where the view says so, before anything asks for the body.

    For JSON only: what comes as a form is read before anybody knows who sent it, but where the view
    says that it takes long ones, see ``register_security``.
    """
    most_bytes: int | None = getattr(_view(), "most_bytes", None)
    if most_bytes is not None and request.is_json:
        request.max_content_length = most_bytes


def _end(error: BaseException | None) -> None:
    """Leave nothing of this request to whatever its thread does next."""
    del error
    mark_writing(writing=False)


def _read_out(response: Response) -> Response:
    """Take what is left of a body that was refused unread.

    The server would close the connection upon it, and a proxy that is still sending would tell of
    that instead of our answer.  No more is read than of a body that is taken, and not for long.
    """
    if request.method not in SAFE_METHODS:
        ends = time.monotonic() + _READING_OUT_SECONDS
        with suppress(HTTPException, OSError):
            while request.stream.read(_PIECE) and time.monotonic() < ends:
                pass
    return response


def _name(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    return response

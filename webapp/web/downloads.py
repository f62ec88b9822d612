"""Lists as files, sent while they are read.

What reads the batches must hold nothing from one to the next: whoever takes them may be slow.
Knows neither what a list is of nor how it is read.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from flask import Response, current_app, send_file
from flask.ctx import AppContext

Item = TypeVar("Item")


def file_answer(pieces: Iterator[bytes], *, content_type: str, filename: str) -> Response:
    """Send a file piece by piece."""
    # Made before the answer begins: an error still gets an answer of its own.
    first = next(pieces, b"")
    # The request and its session end before the rest is sent, so each piece gets a context.
    answer = Response(_rest(first, pieces, current_app.app_context), content_type=content_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def stored_file_answer(path: Path, *, filename: str) -> Response:
    """Send a file that lies on this machine, to be saved and never shown inside the console.

    ``path`` is ours: no part of it may come from a request.
    """
    answer = send_file(path, as_attachment=True, download_name=filename, max_age=0)
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def json_file_answer(batches: Iterable[Iterable[Any]], *, filename: str) -> Response:
    """Send items as one JSON array, each on a line of its own; whole numbers stay exact."""
    return file_answer(_array(batches), content_type="application/json", filename=filename)


def _array(batches: Iterable[Iterable[Any]]) -> Iterator[bytes]:
    before = "[\n"
    for batch in batches:
        lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in batch)
        if not lines:
            continue
        yield f"{before}{lines}".encode("utf-8", "backslashreplace")
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _rest(
    piece: bytes | None, pieces: Iterator[bytes], app_context: Callable[[], AppContext]
) -> Iterator[bytes]:
    while piece is not None:
        yield piece
        with app_context():
            piece = next(pieces, None)

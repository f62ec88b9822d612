"""Lists as CSV files, sent while they are read, and safe to open in a spreadsheet.

Knows neither what a list is of nor how it is read.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import Final

from flask import Response, current_app
from flask.ctx import AppContext

Cells = Sequence[str]

# A spreadsheet runs what begins with one of these as a formula; the wide ones too, in Japanese.
_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def csv_answer(columns: Cells, batches: Iterator[Iterable[Cells]], *, filename: str) -> Response:
    """Send rows as a file with a head, one batch after the other.

    What reads the batches must hold nothing from one to the next: whoever takes them may be slow.
    """
    # Read before the answer begins: an error still gets an answer of its own.
    first = next(batches, ())
    # The request and its session end before the rest is sent, so each batch gets a context.
    chunks = _chunks([columns, *first], batches, current_app.app_context)
    answer = Response(chunks, content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def _chunks(
    first: Iterable[Cells],
    batches: Iterator[Iterable[Cells]],
    app_context: Callable[[], AppContext],
) -> Iterator[bytes]:
    batch: Iterable[Cells] | None = first
    while batch is not None:
        yield _written(batch)
        with app_context():
            batch = next(batches, None)


def _written(rows: Iterable[Cells]) -> bytes:
    text = StringIO(newline="")
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _harmless(cell: str) -> str:
    """Return a cell as text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell

"""Lists as CSV files, sent while they are read, and safe to open in a spreadsheet.

Knows neither what a list is of nor how it is read.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain
from typing import Final

from flask import Response

from webapp.web.downloads import file_answer

Cells = Sequence[str]

# A spreadsheet runs what begins with one of these as a formula; the wide ones too, in Japanese.
_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def csv_answer(columns: Cells, batches: Iterator[Iterable[Cells]], *, filename: str) -> Response:
    """Send rows as a file with a head, one batch after the other."""
    return file_answer(
        _pieces(columns, batches), content_type="text/csv; charset=utf-8", filename=filename
    )


def _pieces(columns: Cells, batches: Iterator[Iterable[Cells]]) -> Iterator[bytes]:
    """Write the head with the first batch, which is read before the answer begins."""
    yield rows_as_csv(chain([columns], next(batches, ())))
    for batch in batches:
        yield rows_as_csv(batch)


def rows_as_csv(rows: Iterable[Cells]) -> bytes:
    """Write rows as a piece of a CSV file."""
    text = StringIO(newline="")
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _harmless(cell: str) -> str:
    """Return a cell as text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell

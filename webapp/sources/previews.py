"""What a file holds, before it becomes a source: its columns, first rows, and a likely key."""

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.errors import Invalid
from webapp.sources.locations import find_file
from webapp.sources.readers import read_batch, start_of
from webapp.sources.values import Rejection, Row

LOOKED_AT = 200
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a file; ``key_field`` is the column that most likely tells rows apart."""

    columns: Sequence[str]
    rows: Sequence[Row]
    rejected: Sequence[Rejection]
    key_field: str
    size: int

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Return the columns as a form's select takes them."""
        return [(name, name) for name in self.columns]


def preview(location: str) -> Preview:
    """Read the beginning of a file; :class:`Invalid` says of ``location`` why it cannot be read."""
    try:
        file = find_file(location)
        batch = read_batch(file, start_of(file), LOOKED_AT)
    except OSError as error:
        raise Invalid.field("location", f"It cannot be read: {error.strerror or error}.") from None
    except Invalid as error:
        raise (error if error.errors else Invalid.field("location", error.detail)) from None
    return Preview(
        batch.columns,
        batch.rows[:SHOWN],
        batch.rejected[:SHOWN],
        _likely_key(batch.columns, batch.rows),
        batch.end.size,
    )


def _likely_key(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the first column that has a value in each row, and never the same one twice."""
    for column in columns:
        values = {row.fields[column].strip() for row in rows}
        if len(values) == len(rows) and "" not in values:
            return column
    return columns[0]

"""What a source holds, before it becomes one: its fields, first rows, and a likely key.

Whatever is not on this machine is asked through a guard, once, within little time, and only the
beginning is taken.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from webapp.breakers.circuit import describe
from webapp.errors import Invalid
from webapp.limits.registry import set_rate_limit
from webapp.retries.classification import classify
from webapp.retries.values import ErrorClass
from webapp.sources.definitions import check_place
from webapp.sources.fetching import Terms, open_reader
from webapp.sources.locations import is_url
from webapp.sources.values import Batch, Rejection, Row, SourceDraft, SourceKind

LOOKED_AT = 200
SHOWN = 5
#: The guard of all previews: what does not answer there is no fault of a source that is read.
GUARD = "source-preview"
# Whoever looks at a file of this machine calls nobody, so that looks at files are not counted.
FILE_GUARD = "source-preview-file"
CALLS, SECONDS = 30, 60
_TERMS: Mapping[str, Terms] = {
    SourceKind.CSV: Terms(retry=None, wait=0, seconds=10, max_bytes=256 * 1024, cut=True),
    # Half a document is none.
    SourceKind.API: Terms(retry=None, wait=0, seconds=10, max_bytes=2 * 1024 * 1024),
    SourceKind.RSS: Terms(retry=None, wait=0, seconds=10, max_bytes=256 * 1024, cut=True),
}

set_rate_limit(GUARD, CALLS, SECONDS)


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a source; ``key_field`` is the field that most likely tells rows apart.

    ``size`` is that of a file in bytes, 0 where nobody knows.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    rejected: Sequence[Rejection]
    key_field: str
    size: int

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Return the fields as a form's select takes them."""
        return [(name, name) for name in self.columns]


def preview(draft: SourceDraft) -> Preview:
    """Read the beginning of a source; :class:`Invalid` says what keeps it from being read."""
    batch = _beginning(check_place(draft))
    return Preview(
        batch.columns,
        batch.rows[:SHOWN],
        batch.rejected[:SHOWN],
        _likely_key(batch.columns, batch.rows),
        # Of what was cut nobody knows the size.
        batch.end.size if batch.end.modified else 0,
    )


def _beginning(draft: SourceDraft) -> Batch:
    name = GUARD if is_url(draft.location) else FILE_GUARD
    try:
        with closing(open_reader(draft, name, terms=_TERMS[draft.kind])) as reader:
            place = reader.begin(None)
            assert place is not None  # noqa: S101 - nothing was read before that could be unchanged
            return reader.read(place, LOOKED_AT)
    except Invalid as error:
        # An address that was refused on the way is that of the source, whatever led there.
        fields = {"location", "auth_env"} & error.errors.keys()
        raise (error if fields else Invalid.field("location", _sentence(error))) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise Invalid.field("location", f"It cannot be read: {reason}.") from None
    except Exception as error:
        if classify(error).error_class == ErrorClass.BUG:
            raise
        raise Invalid.field("location", f"It cannot be read: {describe(error)}.") from None


def _sentence(error: Invalid) -> str:
    messages = [message for texts in error.errors.values() for message in texts]
    return " ".join(messages) or error.detail


def _likely_key(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the first field that has a value in each row, and never the same one twice."""
    for column in columns:
        values = {row.fields.get(column, "").strip() for row in rows}
        if len(values) == len(rows) and "" not in values:
            return column
    return columns[0] if columns else ""

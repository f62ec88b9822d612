"""Reading CSV in batches, each from a known place, in memory that does not grow.

A batch is read by seeking to its place: so a batch can be tried again as a whole, and a run goes on
after a crash without reading what it has read already.  This module decides what a readable row is.
It must not know where the file comes from, nor what becomes of a row.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from webapp.errors import Invalid
from webapp.sources.values import Batch, Checkpoint, Rejection, Row

BOM = b"\xef\xbb\xbf"
LINE_BYTES = 1024 * 1024
# A batch ends early here, so that a file of huge rows fits into memory too.
BATCH_BYTES = 8 * 1024 * 1024
# So much is read ahead of the rows that are plain. No line in it is too long.
BLOCK_BYTES = 64 * 1024
LEAST_BYTES = 256
# Each row names every column anew, in memory and in the database.
MAX_COLUMNS = 2000
NAMED_IN_ERROR = 5


def start_of(file: Path) -> Checkpoint:
    """Return the place before the first line of the file as it is now."""
    stat = file.stat()
    return Checkpoint(size=stat.st_size, modified=stat.st_mtime_ns)


def read_batch(file: Path, at: Checkpoint, limit: int) -> Batch:
    """Read up to ``limit`` rows of a file from ``at``; the place behind them tells its version.

    :class:`Invalid` where the columns cannot be told, :class:`OSError` where the file cannot be
    read.
    """
    with file.open("rb") as stream:
        batch = read_rows(stream, at, limit)
        stat = os.fstat(stream.fileno())
    end = replace(batch.end, size=stat.st_size, modified=stat.st_mtime_ns)
    return replace(batch, end=end)


def read_rows(stream: BinaryIO, at: Checkpoint, limit: int) -> Batch:
    """Read up to ``limit`` rows from ``at``; the first line of the stream names the columns.

    A row that cannot be read is among ``rejected``.
    """
    stream.seek(0)
    reader = _Reader(stream)
    columns = _columns(reader)
    if at.offset > reader.offset:
        reader.seek(at.offset, at.line)
    end_of_bytes = reader.offset + BATCH_BYTES
    rows: list[Row] = []
    rejected: list[Rejection] = []
    last = False
    while (room := limit - len(rows) - len(rejected)) > 0 and reader.offset < end_of_bytes:
        if plain := reader.plain_rows(columns, room):
            rows += plain
            continue
        item = reader.next_row(columns)
        if item is None:
            last = True
            break
        if isinstance(item, Row):
            rows.append(item)
        else:
            rejected.append(item)
    end = replace(at, offset=reader.offset, line=reader.line)
    return Batch(columns, rows, rejected, end, last)


def _columns(reader: "_Reader") -> tuple[str, ...]:
    """Read the header.  Two columns of one name could not be told apart, so they are refused."""
    header = reader.next_fields()
    if header is None:
        raise Invalid("The file is empty: its first line must name the columns.")
    if isinstance(header, Rejection):
        raise Invalid(f"The first line, which names the columns, cannot be read: {header.error}.")
    if len(header) > MAX_COLUMNS:
        raise Invalid(
            f"The first line names {len(header):,} columns; {MAX_COLUMNS:,} are the limit."
        )
    columns = tuple(name.strip() for name in header)
    twice = sorted(name for name, times in Counter(columns).items() if times > 1)
    if twice or "\0" in "".join(columns):
        named = ", ".join(twice[:NAMED_IN_ERROR]) or "NUL"
        raise Invalid(f"The first line does not name each column once: {named}.")
    return columns


class _LineTooLong(Exception):
    """A line that is longer than may be held in memory."""


class _Reader:
    """The rows of a binary stream, with the place of the next one.

    ``csv`` is handed lines one by one and asks for another only while a quoted field is open, so
    after each row the place is exact, in bytes and in lines.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.offset = len(BOM) if stream.read(len(BOM)) == BOM else 0
        self.line = 1
        self._block = BLOCK_BYTES
        stream.seek(self.offset)
        # Those of the row that is being read.
        self._lines: list[bytes] = []
        self._texts: list[str] = []
        self._after_first = (self.offset, self.line)
        # Strict, else a stray quote would swallow the rows up to the next one without a word.
        self._rows = csv.reader(self, strict=True)

    def seek(self, offset: int, line: int) -> None:
        """Go to a place."""
        self._stream.seek(offset)
        self.offset, self.line = offset, line

    def plain_rows(self, columns: tuple[str, ...], most: int) -> list[Row]:
        """Return rows from here on, at most so many; none where the next one may be odd.

        These are what :meth:`next_row` returns, in a third of the time.  What is not plainly a row
        (text that cannot be read, too few fields, the end of what was read ahead) is left to it.
        """
        lines = self._lines_ahead()
        rows: list[Row] = []
        done = 0
        ahead = csv.reader(lines, strict=True)
        # An error is met again, and told, by whoever reads that row exactly.
        with suppress(csv.Error):
            for fields in ahead:
                after = ahead.line_num
                if len(fields) == len(columns):
                    text = lines[done] if after == done + 1 else "".join(lines[done:after])
                    rows.append(
                        Row(self.line + done, dict(zip(columns, fields, strict=True)), text)
                    )
                elif fields:
                    break
                done = after
                if len(rows) == most:
                    break
        # Among many odd rows, reading far ahead is for nothing.
        plain = done == len(lines) or len(rows) == most
        self._block = (
            min(self._block * 4, BLOCK_BYTES) if plain else max(self._block // 4, LEAST_BYTES)
        )
        self.seek(self.offset + len("".join(lines[:done]).encode()), self.line + done)
        return rows

    def _lines_ahead(self) -> list[str]:
        """Return the whole lines of the next block, up to the first that is not UTF-8."""
        data = self._stream.read(self._block)
        if len(data) == self._block:
            data = data[: data.rfind(b"\n") + 1]
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            text = data[: data.rfind(b"\n", 0, error.start) + 1].decode()
        # Only this splits lines where the exact way does.
        return list(io.StringIO(text, newline="\n"))

    def next_row(self, columns: tuple[str, ...]) -> Row | Rejection | None:
        """Return the next row, or why it is none; None at the end."""
        line = self.line
        fields = self.next_fields()
        while fields == []:  # A blank line is no row.
            line = self.line
            fields = self.next_fields()
        if fields is None or isinstance(fields, Rejection):
            return fields
        text = self._texts[0] if len(self._texts) == 1 else "".join(self._texts)
        if len(fields) != len(columns):
            error = f"has {len(fields)} fields, the header names {len(columns)}"
            return Rejection.of(line, error, text)
        return Row(line, dict(zip(columns, fields, strict=True)), text)

    def next_fields(self) -> list[str] | Rejection | None:
        """Return the next row's fields, [] for a blank line, why it is unreadable, None at the end.

        After an unreadable row reading goes on at its second line: a quote that was never closed
        costs one row, not all the rows that it seems to hold.
        """
        line = self.line
        self._lines, self._texts = [], []
        try:
            return next(self._rows)
        except StopIteration:
            return None
        except (csv.Error, UnicodeDecodeError, _LineTooLong) as error:
            text = self._lines[0].decode("utf-8", "backslashreplace")
            self.seek(*self._after_first)
            return Rejection.of(line, _wording(error), text)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Return the next line for ``csv``."""
        data = self._stream.readline(LINE_BYTES)
        if not data:
            raise StopIteration
        self.offset += len(data)
        too_long = len(data) == LINE_BYTES and not data.endswith(b"\n")
        if too_long:
            self._skip_line()
        self.line += 1
        if not self._lines:
            self._after_first = (self.offset, self.line)
        self._lines.append(data)
        if too_long:
            raise _LineTooLong
        text = data.decode()
        self._texts.append(text)
        return text

    def _skip_line(self) -> None:
        while data := self._stream.readline(LINE_BYTES):
            self.offset += len(data)
            if data.endswith(b"\n"):
                return


def _wording(error: Exception) -> str:
    if isinstance(error, _LineTooLong):
        return f"the line is longer than {LINE_BYTES} bytes"
    if isinstance(error, UnicodeDecodeError):
        return f"the text is not UTF-8: byte 0x{error.object[error.start]:02x}, {error.reason}"
    return f"the CSV cannot be read: {error}"

"""What counts as a row, and that reading can stop and go on anywhere."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from webapp.errors import Invalid
from webapp.sources import readers
from webapp.sources.readers import LINE_BYTES, MAX_COLUMNS, read_batch, start_of
from webapp.sources.values import REJECTED_CHARACTERS, Batch, Rejection, Row

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(data: bytes) -> Path:
        file = tmp_path / "data.csv"
        file.write_bytes(data)
        return file

    return _write


def read_all(file: Path, size: int) -> list[Batch]:
    place = start_of(file)
    batches: list[Batch] = []
    while not batches or not batches[-1].last:
        batches.append(read_batch(file, place, size))
        place = batches[-1].end
    return batches


def rows_of(file: Path, size: int = 100) -> list[tuple[int, list[str]]]:
    return [
        (row.line, list(row.fields.values()))
        for batch in read_all(file, size)
        for row in batch.rows
    ]


def rejected_of(file: Path, size: int = 100) -> list[Rejection]:
    return [item for batch in read_all(file, size) for item in batch.rejected]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b\n1,2\n", [(2, ["1", "2"])]),
        (b"a,b\n1,2", [(2, ["1", "2"])]),
        (b"a,b\r\n1,2\r\n3,4\r\n", [(2, ["1", "2"]), (3, ["3", "4"])]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [(2, ["1", "2"])]),
        (b'\xef\xbb\xbf"a","b"\n1,2\n', [(2, ["1", "2"])]),
        (b'"a",b\n"1\n1",2\n3,4\n', [(2, ["1\n1", "2"]), (4, ["3", "4"])]),
        (b'a,b\n"say ""hi""",2\n', [(2, ['say "hi"', "2"])]),
        (b'a,b\n"1,\r\n\r\n1",2\n', [(2, ["1,\r\n\r\n1", "2"])]),
        (b"a,b\n\n1,2\n\n\n3,4\n", [(3, ["1", "2"]), (6, ["3", "4"])]),
        ("a,b\n\u00e9\u4e16,\U0001f600\n".encode(), [(2, ["\u00e9\u4e16", "\U0001f600"])]),
        (b" a , b \n1,2\n", [(2, ["1", "2"])]),
        (b"a,b\n", []),
    ],
)
def test_a_row_is_read_with_the_line_on_which_it_begins(
    write: Write, data: bytes, rows: list[tuple[int, list[str]]]
) -> None:
    file = write(data)
    assert rows_of(file) == rows
    assert rejected_of(file) == []


def test_a_byte_order_mark_is_no_part_of_the_first_column(write: Write) -> None:
    (batch,) = read_all(write(b"\xef\xbb\xbfa,b\n"), 1)
    assert batch.columns == ("a", "b")


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"1\n", "has 1 fields, the header names 2"),
        (b"1,2,3\n", "has 3 fields, the header names 2"),
        (b"\xe9,2\n", "the text is not UTF-8: byte 0xe9, invalid continuation byte"),
        (b'"1"x,2\n', "the CSV cannot be read: ',' expected after '\"'"),
        (b"1\r2,3\n", "the CSV cannot be read: new-line character seen in unquoted field"),
        (b"x" * (LINE_BYTES + 10) + b",2\n", f"the line is longer than {LINE_BYTES} bytes"),
        (b'"' + b"x" * 200_000 + b'",2\n', "the CSV cannot be read: field larger than field limit"),
    ],
)
def test_an_unreadable_row_is_rejected_and_its_neighbours_are_read(
    write: Write, bad: bytes, error: str
) -> None:
    file = write(b"a,b\n1,2\n" + bad + b"3,4\n")
    assert rows_of(file) == [(2, ["1", "2"]), (4, ["3", "4"])]
    (rejected,) = rejected_of(file)
    assert rejected.line == 3
    assert rejected.error.startswith(error)
    assert 0 < len(rejected.text) <= REJECTED_CHARACTERS


@pytest.mark.parametrize(
    ("rest", "rows"),
    [
        (b"3,4\n5,6\n", [(3, ["3", "4"]), (4, ["5", "6"])]),
        (b'3,4\n"5",6\n', [(3, ["3", "4"]), (4, ["5", "6"])]),
        (b'3,"4\n5"\n', [(3, ["3", "4\n5"])]),
    ],
)
def test_a_quote_that_is_never_closed_costs_its_own_row_only(
    write: Write, rest: bytes, rows: list[tuple[int, list[str]]]
) -> None:
    file = write(b'a,b\n"1,2\n' + rest)
    assert rows_of(file) == rows
    (rejected,) = rejected_of(file)
    assert (rejected.line, rejected.text) == (2, '"1,2')


def test_a_nul_character_is_shown_but_never_kept(write: Write) -> None:
    (rejected,) = rejected_of(write(b"a,b\n1\x00\n"))
    assert rejected.text == "1\\x00"


AWKWARD = (
    b'\xef\xbb\xbf"k",v\r\n'
    b'1,"two\nlines"\r\n'
    b"\r\n"
    b"2,\xc3\xa9\r\n"
    b"short\r\n"
    b"3,\xff\r\n"
    b'"4,open\r\n'
    b'5,"a\r\n\r\nb"\r\n'
    b"6,last"
)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_reading_in_batches_of_any_size_gives_the_same(write: Write, size: int) -> None:
    file = write(AWKWARD)
    whole = read_all(file, 100)[0]
    batches = read_all(file, size)
    assert [row for batch in batches for row in batch.rows] == list(whole.rows)
    assert [item for batch in batches for item in batch.rejected] == list(whole.rejected)
    assert batches[-1].end == whole.end
    assert whole.end.offset == len(AWKWARD)
    assert [row.line for row in whole.rows] == [2, 5, 9, 12]
    assert [item.line for item in whole.rejected] == [6, 7, 8]


def test_a_batch_of_huge_rows_ends_before_it_fills_the_memory(write: Write) -> None:
    line = b"x" * 100_000 + b",1\n"
    file = write(b"a,b\n" + line * 200)
    batches = read_all(file, 5000)
    assert max(len(batch.rows) for batch in batches) < 100
    assert sum(len(batch.rows) for batch in batches) == 200


@pytest.mark.parametrize(
    "data",
    [b"", b"\xef\xbb\xbf", b"a,a\n1,2\n", b"\xff,b\n1,2\n", b'"a,b\n1,2\n', b"a\x00,b\n1,2\n"],
)
def test_a_file_whose_columns_cannot_be_told_is_refused(write: Write, data: bytes) -> None:
    file = write(data)
    with pytest.raises(Invalid):
        read_batch(file, start_of(file), 10)


def test_a_change_of_the_file_shows_in_the_place(write: Write) -> None:
    before = start_of(write(b"a,b\n1,2\n"))
    file = write(b"a,b\n1,2\n3,4\n")
    assert not read_batch(file, before, 10).end.same_version(before)


def test_a_row_knows_its_text(write: Write) -> None:
    (batch,) = read_all(write(b'a,b\n"1\n",2\n'), 10)
    assert batch.rows == [Row(2, {"a": "1\n", "b": "2"}, '"1\n",2\n')]


def named(columns: int) -> bytes:
    return ",".join(f"c{n}" for n in range(columns)).encode() + b"\n"


def test_a_file_may_have_two_thousand_columns(write: Write) -> None:
    (batch,) = read_all(write(named(MAX_COLUMNS)), 10)
    assert len(batch.columns) == MAX_COLUMNS


def test_a_file_of_more_columns_is_refused_with_their_number(write: Write) -> None:
    file = write(named(60_000))
    with pytest.raises(Invalid, match=r"names 60,000 columns; 2,000 are the limit"):
        read_batch(file, start_of(file), 10)


def test_columns_that_stand_twice_are_named_but_not_all_of_them(write: Write) -> None:
    file = write(b",".join([b"a,b,c,d,e,f,g"] * 2) + b"\n")
    with pytest.raises(Invalid, match=r"each column once: a, b, c, d, e\.$"):
        read_batch(file, start_of(file), 10)


# What decides how a line is read, and a character of each length in bytes.
PIECES = [b"a", b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b" ", b"\xff", b"a,b\n", b'"a\nb",c\n']
PIECES += [text.encode() for text in ("\x85", "\u2028", "\u00e9", "\u4e16", "\U0001f600")]


@example(b'1,2\n3,"4\n5,6\n', 2, 64)
@example(b"1,2\n\n\n3,4\n5\n6,7", 1, 8)
@example(b"1,2\n3,\xff\n5,6\n", 3, 64)
@given(
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
    st.integers(1, 5),
    st.integers(1, 64),
)
@limits(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_ahead_finds_what_reading_row_by_row_does(
    tmp_path: Path, data: bytes, size: int, block: int
) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(b"a,b\n" + data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "LEAST_BYTES", 1)
        patch.setattr(readers, "BLOCK_BYTES", block)
        ahead = read_all(file, size)
        patch.setattr(readers._Reader, "plain_rows", lambda *_: [])
        assert ahead == read_all(file, size)

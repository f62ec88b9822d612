"""How rows become records, and how they compare with those that stand."""

import pytest

from webapp.errors import Invalid
from webapp.sources.mapping import (
    KEY_LENGTH,
    MappedRow,
    check_columns,
    check_mapping,
    compare,
    content_hash,
    map_row,
)
from webapp.sources.values import Rejection, Row


def row(key: str, text: str = "k,v") -> Row:
    return Row(7, {"k": key, "v": "1"}, text)


@pytest.mark.parametrize("key", ["KJFK", " KJFK", "KJFK\t"])
def test_space_around_a_key_is_no_part_of_it(key: str) -> None:
    mapped = map_row(row(key), "k")
    assert isinstance(mapped, MappedRow)
    assert mapped.key == "KJFK"
    assert mapped.raw["k"] == key


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (row(""), "has no key: k is empty"),
        (row("  "), "has no key: k is empty"),
        (row("x" * (KEY_LENGTH + 1)), "has a key of 256 characters, 255 are the limit"),
        (Row(7, {"k": "x", "v": "\0"}, "x,\0"), "holds a NUL character"),
        (Row(7, {"k": "x", "\0": "v"}, "x"), "holds a NUL character"),
        (Row(7, {"k": "x", "v": "\ud800"}, "x,\ud800"), "holds half of a character"),
    ],
)
def test_a_row_that_can_be_no_record_is_rejected(bad: Row, error: str) -> None:
    rejected = map_row(bad, "k")
    assert isinstance(rejected, Rejection)
    assert (rejected.line, rejected.error) == (7, error)
    assert "\0" not in rejected.text


def test_the_content_hash_is_stable() -> None:
    assert content_hash({"a": "1", "b": "\u00e9"}) == "389fe65db7d41b3e368008c7a3b1b159"


def test_the_order_of_columns_does_not_change_the_content_hash() -> None:
    assert content_hash({"a": "1", "b": "2"}) == content_hash({"b": "2", "a": "1"})


@pytest.mark.parametrize(
    "other", [{"a": "1"}, {"a": "1", "b": ""}, {"a": "2", "b": "1"}, {"a": "1", "b": "2 "}]
)
def test_any_other_content_has_another_hash(other: dict[str, str]) -> None:
    assert content_hash(other) != content_hash({"a": "1", "b": "2"})


def mapped(key: str, content: str) -> MappedRow:
    return MappedRow(key, content, {})


@pytest.mark.parametrize(
    ("rows", "standing", "counts", "write", "touch"),
    [
        ([], {}, (0, 0, 0), [], []),
        ([("a", "1")], {}, (1, 0, 0), [("a", "1")], []),
        ([("a", "1")], {"a": "1"}, (0, 0, 1), [], ["a"]),
        ([("a", "2")], {"a": "1"}, (0, 1, 0), [("a", "2")], []),
        # A key twice: each row counts as if they were written one by one, and the last wins.
        ([("a", "1"), ("a", "1")], {}, (1, 0, 1), [("a", "1")], []),
        ([("a", "1"), ("a", "2")], {}, (1, 1, 0), [("a", "2")], []),
        ([("a", "1"), ("a", "2")], {"a": "1"}, (0, 1, 1), [("a", "2")], []),
        ([("a", "2"), ("a", "1")], {"a": "1"}, (0, 2, 0), [("a", "1")], []),
        ([("a", "1"), ("a", "1")], {"a": "1"}, (0, 0, 2), [], ["a"]),
        (
            [("b", "1"), ("c", "9"), ("d", "1")],
            {"b": "1", "c": "1"},
            (1, 1, 1),
            [("c", "9"), ("d", "1")],
            ["b"],
        ),
    ],
)
def test_rows_are_compared_with_what_stands(
    rows: list[tuple[str, str]],
    standing: dict[str, str],
    counts: tuple[int, int, int],
    write: list[tuple[str, str]],
    touch: list[str],
) -> None:
    found = compare([mapped(*item) for item in rows], standing)
    assert (found.inserted, found.updated, found.unchanged) == counts
    assert [(item.key, item.content_hash) for item in found.write] == write
    assert list(found.touch) == touch


def test_a_source_without_its_key_column_is_refused() -> None:
    check_columns(["k", "v"], "k")
    with pytest.raises(Invalid, match="no column 'id'"):
        check_columns(["k", "v"], "id")


def test_a_mapping_renames_and_leaves_out_and_the_row_stays_beside_it() -> None:
    found = map_row(
        Row(2, {"k": "1", "a.b": "x", "c": "y"}, ""), "k", {"b": "a.b", "again": "a.b", "no": "d"}
    )
    assert isinstance(found, MappedRow)
    assert found.raw == {"k": "1", "a.b": "x", "c": "y"}
    assert found.mapped == {"b": "x", "again": "x"}


def test_another_mapping_of_the_same_row_is_other_content() -> None:
    row = Row(2, {"k": "1", "a": "x"}, "")
    plain, one, other = (map_row(row, "k", mapping) for mapping in ({}, {"b": "a"}, {"c": "a"}))
    hashes = {item.content_hash for item in (plain, one, other) if isinstance(item, MappedRow)}
    assert len(hashes) == 3
    assert isinstance(plain, MappedRow)
    assert plain.mapped is None


@pytest.mark.parametrize(
    "mapping",
    [{"": "a"}, {"a": ""}, {"a": "x" * 256}, {"a\0": "b"}, {"a": "\ud800"},
     {str(n): "a" for n in range(501)}],
)  # fmt: skip
def test_a_mapping_that_no_record_could_have_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        check_mapping(mapping)
    assert list(caught.value.errors) == ["mapping"]

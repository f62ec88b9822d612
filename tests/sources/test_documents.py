"""What a page of an API means: its items as rows, its cursor, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import Invalid
from webapp.sources.documents import ITEM_CHARACTERS, MAX_FIELDS, read_document, rows_of
from webapp.sources.mapping import map_row
from webapp.sources.values import Rejection, Row, Unreadable


def rows(text: str | bytes, items: str = "") -> list[Row | Rejection]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(rows_of(read_document(data, items=items).items, 1))


def fields(text: str) -> dict[str, str]:
    (row,) = rows(f"[{text}]")
    assert isinstance(row, Row)
    return dict(row.fields)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ('{"a": "x"}', {"a": "x"}),
        ('{"a": 1, "b": 1.0, "c": 1e2}', {"a": "1", "b": "1.0", "c": "1e2"}),
        ('{"a": 12345678901234567890123}', {"a": "12345678901234567890123"}),
        ('{"a": 0.1000000000000000055511}', {"a": "0.1000000000000000055511"}),
        ('{"a": true, "b": false, "c": null}', {"a": "true", "b": "false", "c": ""}),
        ('{"a": {"b": {"c": 1}}, "d": 2}', {"a.b.c": "1", "d": "2"}),
        ('{"a": [1, {"b": "x"}]}', {"a": '["1", {"b": "x"}]'}),
        ('{"a": {}, "b": []}', {"a": "{}", "b": "[]"}),
        ("{}", {}),
    ],
)
def test_an_item_is_a_row_of_texts_with_dotted_names(item: str, expected: dict[str, str]) -> None:
    assert fields(item) == expected


def test_what_lies_deep_stays_json() -> None:
    assert fields('{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}') == {"a.b.c.d.e": '{"f": "1"}'}


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ("1", "is a text, and not an object"),
        ("null", "is null, and not an object"),
        ("[]", "is a list, and not an object"),
        ('{"a": 1, "a": 2}', "names a field twice"),
        ('{"a": {"b": 1, "b": 2}}', "names a.… twice"),
        ('{"a.b": 1, "a": {"b": 2}}', "names a.b twice"),
        (json.dumps({"a": "x" * ITEM_CHARACTERS}), f"is larger than {ITEM_CHARACTERS} characters"),
        (
            json.dumps({f"f{n}": n for n in range(MAX_FIELDS + 1)}),
            f"has more than {MAX_FIELDS} fields",
        ),
    ],
)
def test_an_item_that_is_no_row_is_rejected_and_its_neighbours_are_read(
    item: str, error: str
) -> None:
    first, odd, last = rows(f'[{{"id": 1}}, {item}, {{"id": 3}}]')
    assert isinstance(odd, Rejection)
    assert (odd.line, odd.error) == (2, error)
    assert [getattr(row, "line", 0) for row in (first, last)] == [1, 3]


@pytest.mark.parametrize(
    ("page", "items", "error", "words"),
    [
        ("", "", Unreadable, "not JSON"),
        ("<html>", "", Unreadable, "not JSON"),
        ('[{"a": NaN}]', "", Unreadable, "NaN is no number"),
        (b"\xff\xfe[", "", Unreadable, "not JSON"),
        (b'[{"a": "\xe9"}]', "", Unreadable, "not JSON"),
        ("[" * 100_000, "", Invalid, "nested too deeply"),
        ('{"data": []}', "", Invalid, "The answer itself is an object"),
        ('{"data": {"rows": []}}', "data", Invalid, "'data' is an object"),
        ('{"data": {"rows": []}}', "data.items", Invalid, "at 'items' there is rows"),
        ("[]", "data", Invalid, "at 'data' there is nothing"),
    ],
)
def test_a_page_that_is_built_otherwise_is_refused_in_words(
    page: str | bytes, items: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        rows(page, items)


@pytest.mark.parametrize(
    ("page", "cursor"),
    [
        ({"meta": {"next": "abc"}}, "abc"),
        ({"meta": {"next": 7}}, "7"),
        ({"meta": {"next": None}}, ""),
        ({"meta": {"next": False}}, ""),
        ({"meta": {"next": ""}}, ""),
        ({"meta": {}}, ""),
        ({}, ""),
    ],
)
def test_the_last_page_has_no_cursor(page: dict[str, Any], cursor: str) -> None:
    data = json.dumps(page | {"items": []}).encode()
    assert read_document(data, items="items", cursor="meta.next").cursor == cursor


def test_a_cursor_that_is_no_text_is_refused() -> None:
    with pytest.raises(Invalid, match="where the cursor should be"):
        read_document(b'{"items": [], "next": {}}', items="items", cursor="next")


numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(values, max_size=5))
def test_whatever_a_page_holds_each_item_becomes_a_row_or_is_rejected(items: list[Any]) -> None:
    found = rows(json.dumps(items, allow_nan=False))
    assert [row.line for row in found] == list(range(1, len(items) + 1))
    for row in found:
        if isinstance(row, Row):
            assert all(isinstance(value, str) for value in row.fields.values())
            # Nothing that no database holds comes through.
            mapped = map_row(row, next(iter(row.fields), "id"))
            json.dumps(getattr(mapped, "raw", {}), ensure_ascii=False).encode()

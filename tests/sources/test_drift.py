"""Which fields are new, gone, of another type or of another name; and how surely."""

import random
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.sources.drift import (
    Drift,
    KnownField,
    Schema,
    Terms,
    find_drift,
    find_retyped,
    learned,
    schema_from_json,
    schema_to_json,
    settled,
    with_rename,
    without_rename,
)
from webapp.sources.locations import find_file
from webapp.sources.profiles import Profile, extend
from webapp.sources.readers import read_batch, start_of

Rows = list[dict[str, str]]
SINCE = "2026-11-22T12:00:00+00:00"


def profile_of(rows: Rows) -> Profile:
    return extend(Profile(), list(dict.fromkeys(name for row in rows for name in row)), rows)


def schema_of(rows: Rows) -> dict[str, KnownField]:
    seen = profile_of(rows)
    return {
        name: KnownField.of(item, seen.rows, SINCE, run=1) for name, item in seen.fields.items()
    }


def told(drifts: Collection[Drift]) -> set[tuple[str, str, str | None, str]]:
    return {(item.kind, item.field, item.new_field, item.state) for item in drifts}


def compare(before: Rows, after: Rows, **terms: object) -> set[tuple[str, str, str | None, str]]:
    return told(find_drift(schema_of(before), profile_of(after), Terms(**terms)))  # type: ignore[arg-type]


def table(**columns: list[str]) -> Rows:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def renamed(rows: Rows, names: Mapping[str, str]) -> Rows:
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


WORDS = [f"word {number}" for number in range(40)]
OTHERS = [f"other {number}" for number in range(40)]
NUMBERS = [str(number) for number in range(40)]


@pytest.fixture(scope="module")
def airports() -> Rows:
    """The first airports of the file that the console ships with."""
    file: Path = find_file("package:airportsdata/airports.csv")
    return [dict(row.fields) for row in read_batch(file, start_of(file), 1000).rows]


def test_the_same_fields_in_any_order_are_no_drift(airports: Rows) -> None:
    turned = [dict(reversed(row.items())) for row in reversed(airports)]
    assert compare(airports, turned) == set()
    assert find_retyped(schema_of(airports), profile_of(turned)) == []


def test_the_airports_by_other_names(airports: Rows) -> None:
    names = {"icao": "icao_code", "lat": "latitude", "lon": "longitude", "tz": "timezone"}
    assert compare(airports, renamed(airports, names), keys={"icao"}) == {
        ("renamed", old, new, "applied") for old, new in names.items()
    }


def test_the_airports_with_a_column_less_and_one_more(airports: Rows) -> None:
    after = [
        {"runways": "2"} | {name: value for name, value in row.items() if name != "subd"}
        for row in airports
    ]
    assert compare(airports, after) == {
        ("removed", "subd", None, "noted"),
        ("added", "runways", None, "noted"),
    }


def test_the_airports_with_another_type(airports: Rows) -> None:
    after = [row | {"elevation": row["elevation"] + " ft"} for row in airports]
    (drift,) = find_retyped(schema_of(airports), profile_of(after))
    assert (drift.field, drift.to_type) == ("elevation", "text")
    assert drift.from_type in {"integer", "number"}


def test_latitude_is_never_taken_for_longitude(airports: Rows) -> None:
    before = [{name: value for name, value in row.items() if name != "lon"} for row in airports]
    after = [{name: value for name, value in row.items() if name != "lat"} for row in airports]
    assert compare(before, after) == {
        ("removed", "lat", None, "noted"),
        ("added", "lon", None, "noted"),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("first_name", "last_name"),
        ("start_date", "end_date"),
        ("created_at", "updated_at"),
        ("price_usd", "price_eur"),
        ("address_1", "address_2"),
    ],
)
def test_names_that_disagree_are_not_outdone_by_values(old: str, new: str) -> None:
    before, after = table(**{old: WORDS}), table(**{new: WORDS})
    (drift,) = find_drift(schema_of(before), profile_of(after), Terms())
    assert drift.confidence is not None
    assert drift.confidence <= 0.6
    assert drift.state == "held"
    assert told(find_drift(schema_of(before), profile_of(table(**{new: OTHERS})), Terms())) == {
        ("removed", old, None, "noted"),
        ("added", new, None, "noted"),
    }


def test_a_name_that_says_more_is_held_unless_values_speak_for_it() -> None:
    before = table(email=WORDS)
    assert compare(before, table(email_address=OTHERS)) == {
        ("renamed", "email", "email_address", "held")
    }
    assert compare(before, table(email_address=WORDS)) == {
        ("renamed", "email", "email_address", "applied")
    }


def test_truth_values_speak_for_nothing() -> None:
    yes = ["true", "false"] * 20
    assert compare(table(email=yes), table(email_address=yes)) == {
        ("renamed", "email", "email_address", "held")
    }


def test_types_that_cannot_be_the_same_weigh_against() -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 29)]
    assert compare(table(qty=NUMBERS[:28]), table(quantity=days)) == {
        ("renamed", "qty", "quantity", "held")
    }
    assert compare(table(qty=NUMBERS), table(quantity=[f"{n}.5" for n in NUMBERS])) == {
        ("renamed", "qty", "quantity", "applied")
    }


def test_of_two_that_are_as_good_none_is_applied() -> None:
    before, after = table(cust=WORDS), table(customer=OTHERS, custom=OTHERS)
    drifts = find_drift(schema_of(before), profile_of(after), Terms())
    (rename,) = (item for item in drifts if item.kind == "renamed")
    assert rename.state == "held"
    assert rename.confidence is not None
    assert rename.confidence < 0.5


def test_the_surest_pairs_go_first_and_each_field_once() -> None:
    before = table(email=WORDS, mail_address=OTHERS)
    after = table(email_address=OTHERS, mail=WORDS)
    assert compare(before, after) == {
        ("renamed", "email", "mail", "applied"),
        ("renamed", "mail_address", "email_address", "applied"),
    }


def test_a_rejected_pair_is_not_proposed_again() -> None:
    assert compare(table(qty=NUMBERS), table(quantity=NUMBERS), rejected={("qty", "quantity")}) == {
        ("removed", "qty", None, "noted"),
        ("added", "quantity", None, "noted"),
    }


def test_the_threshold_decides_what_is_applied() -> None:
    pair = table(qty=NUMBERS), table(quantity=NUMBERS)
    assert compare(*pair, threshold=0.999) == {("renamed", "qty", "quantity", "held")}


def test_a_key_whose_values_are_all_others_is_held() -> None:
    before = table(cust_id=WORDS)
    assert compare(before, table(customer_id=OTHERS), keys={"cust_id"}) == {
        ("renamed", "cust_id", "customer_id", "held")
    }
    assert compare(before, table(customer_id=WORDS), keys={"cust_id"}) == {
        ("renamed", "cust_id", "customer_id", "applied")
    }
    assert compare(before, table(customer_id=OTHERS)) == {
        ("renamed", "cust_id", "customer_id", "applied")
    }


def test_a_field_that_few_rows_have_is_not_missed_by_chance() -> None:
    before = [{"id": str(n)} | ({"note": "x"} if n % 10 == 0 else {}) for n in range(100)]
    few = [{"id": str(n)} for n in range(5)]
    assert compare(before, few) == set()
    many = [{"id": str(n)} for n in range(100)]
    assert compare(before, many) == {("removed", "note", None, "noted")}


def test_a_wholly_other_table_is_no_renamed_one() -> None:
    before = table(**{f"column_{n}_a": ["1"] for n in range(150)})
    after = table(**{f"column_{n}_A_": ["1"] for n in range(150)})
    assert {kind for kind, *_ in compare(before, after)} == {"added", "removed"}


def test_a_narrower_type_counts_only_where_the_first_rows_were_wider() -> None:
    numbers = table(v=NUMBERS)
    rare = extend(profile_of(numbers * 25), ["v"], [{"v": "n/a"}])
    known = {"v": KnownField.of(rare.fields["v"], rare.rows, SINCE, run=1)}
    assert (known["v"].type, known["v"].head) == ("text", "integer")
    assert find_retyped(known, profile_of(numbers)) == []
    assert settled(known, profile_of(numbers))["v"].type == "text"
    wide = schema_of(table(v=["n/a", *NUMBERS]))
    assert [item.to_type for item in find_retyped(wide, profile_of(numbers))] == ["integer"]


def test_a_field_without_values_is_of_no_other_type() -> None:
    before = schema_of(table(v=NUMBERS))
    empty = profile_of(table(v=["", ""]))
    assert find_retyped(before, empty) == []
    assert settled(before, empty)["v"].type == "integer"


columns = st.lists(
    st.sampled_from(
        ["qty", "quantity", "email", "mail", "cust_id", "customer_id", "x", "y", "note"]
    ),
    unique=True,
    max_size=6,
)


@given(columns, columns)
def test_each_field_is_told_once_and_what_is_told_is_learned(
    before: list[str], after: list[str]
) -> None:
    old, new = table(**dict.fromkeys(before, WORDS)), table(**dict.fromkeys(after, WORDS))
    schema: Schema = schema_of(old)
    seen = profile_of(new)
    drifts = find_drift(schema, seen, Terms())
    gone = [item.field for item in drifts if item.kind in {"removed", "renamed"}]
    come = [item.new_field or item.field for item in drifts if item.kind in {"added", "renamed"}]
    assert sorted(gone) == sorted(set(before) - set(after))
    assert sorted(come) == sorted(set(after) - set(before))
    assert all(0 < item.confidence <= 1 for item in drifts if item.confidence is not None)
    known = learned(schema, seen, drifts, since=SINCE, run=2)
    assert set(known) == set(after)
    assert find_drift(known, seen, Terms()) == []
    assert schema_from_json(schema_to_json(known)) == known


@given(st.randoms(use_true_random=False))
def test_the_order_of_fields_means_nothing(chance: random.Random) -> None:
    before = ["cust_nm", "qty", "e_mail", "addr", "start_date", "tel"]
    after = ["customer_name", "quantity", "email", "address", "end_date", "phone"]
    expected = compare(table(**dict.fromkeys(before, WORDS)), table(**dict.fromkeys(after, WORDS)))
    chance.shuffle(before)
    chance.shuffle(after)
    again = compare(table(**dict.fromkeys(before, WORDS)), table(**dict.fromkeys(after, WORDS)))
    assert again == expected


def test_renames_follow_each_other_and_end_where_a_name_is_back() -> None:
    renames = with_rename({}, "qty", "quantity")
    assert renames == {"qty": "quantity"}
    renames = with_rename(renames, "quantity", "amount")
    assert renames == {"qty": "amount"}
    assert with_rename(renames, "amount", "qty") == {}
    assert without_rename(renames, "amount") == {}
    assert with_rename(renames, "sum", "amount") == {"sum": "amount"}

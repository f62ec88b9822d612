"""Names that mean one thing look alike, and names that mean two do not, however near they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.sources.naming import likeness

SURE = 0.8

ONE_THING = [
    ("qty", "quantity"),
    ("cust", "customer"),
    ("cust_nm", "customer_name"),
    ("customerId", "customer_id"),
    ("HTTPCode", "http-code"),
    ("firstname", "first_name"),
    ("dob", "date_of_birth"),
    ("zip", "postcode"),
    ("zip_code", "postal_code"),
    ("tel", "phone"),
    ("surname", "last_name"),
    ("mail", "email"),
    ("e-mail", "email"),
    ("adress", "address"),
    ("lat", "latitude"),
    ("dept_no", "department_number"),
    ("order_total", "total_order"),
    ("line_01", "line1"),
    ("straße", "STRASSE"),
    ("item", "items"),
]
TWO_THINGS = [
    ("first_name", "last_name"),
    ("start_date", "end_date"),
    ("created_at", "updated_at"),
    ("price_usd", "price_eur"),
    ("address_1", "address_2"),
    ("lat", "lon"),
    ("latitude", "longitude"),
    ("billing_city", "shipping_city"),
    ("home_phone", "work_phone"),
    ("country", "county"),
    ("height", "weight"),
    ("state", "status"),
    ("region", "religion"),
    ("min_temp", "max_temp"),
    ("cnt", "country"),
    ("id", "idea"),
]
SAYS_MORE = [
    ("email", "email_address"),
    ("phone", "phone_number"),
    ("name", "customer_name"),
    ("customer_email", "customer_email_address"),
    ("country", "country_code"),
    ("price", "unit_price"),
]
names = st.text(st.sampled_from("abcDE12_- é名"), max_size=12)


@pytest.mark.parametrize(("one", "other"), ONE_THING)
def test_names_of_one_thing_are_sure(one: str, other: str) -> None:
    found = likeness(one, other)
    assert found.score >= SURE
    assert not found.disagrees


@pytest.mark.parametrize(("one", "other"), TWO_THINGS)
def test_names_of_two_things_stay_far_below(one: str, other: str) -> None:
    found = likeness(one, other)
    assert found.score <= 0.4
    assert found.disagrees


@pytest.mark.parametrize(("one", "other"), SAYS_MORE)
def test_a_name_that_says_more_is_for_somebody_to_decide(one: str, other: str) -> None:
    found = likeness(one, other)
    assert 0.5 <= found.score < SURE
    assert not found.disagrees


@given(names, names)
def test_a_score_is_from_0_to_1_and_the_same_both_ways(one: str, other: str) -> None:
    assert 0 <= likeness(one, other).score <= 1
    assert likeness(one, other) == likeness(other, one)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=4))
def test_case_and_separators_do_not_count(words: list[str]) -> None:
    styles = [
        "_".join(words),
        "-".join(words).upper(),
        " ".join(words),
        "".join(words),
        words[0] + "".join(word.capitalize() for word in words[1:]),
    ]
    assert {likeness(styles[0], style).score for style in styles} == {1.0}


@given(st.text("_-. ", max_size=4), names)
def test_a_name_without_letters_is_like_itself_only(one: str, other: str) -> None:
    assert likeness(one, other).score == (1.0 if one == other else 0.0)

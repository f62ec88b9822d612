"""Where a run goes on."""

from itertools import chain, cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.sources.values import Checkpoint, Trail, Validators

START = Checkpoint(0, 1, 100, 7)


@pytest.mark.parametrize(
    ("saved", "place"),
    [
        (None, START),
        (Checkpoint(40, 5, 100, 7), Checkpoint(40, 5, 100, 7)),
        # The file is another one by now: its bytes mean something else.
        (Checkpoint(40, 5, 101, 7), START),
        (Checkpoint(40, 5, 100, 8), START),
        # The source is another one, and so may be the file at its location.
        (Checkpoint(40, 5, 100, 7, definition=2), START),
    ],
)
def test_a_run_goes_on_in_the_same_version_of_its_file_and_else_starts_over(
    saved: Checkpoint | None, place: Checkpoint
) -> None:
    assert START.resumed(saved) == place


places = st.builds(
    Checkpoint,
    offset=st.integers(0, 2**40),
    line=st.integers(1, 2**40),
    digest=st.text("0123456789abcdef", max_size=32),
    position=st.text(max_size=30),
    page=st.integers(0, 10**6),
    trail=st.builds(Trail, st.text(max_size=8), st.integers(0, 99), st.integers(1, 99)),
    done=st.lists(st.text(max_size=16)).map(tuple),
    validators=st.builds(Validators, st.text(max_size=9), st.text(max_size=9)),
    definition=st.integers(1, 99),
    complete=st.booleans(),
)


@given(places)
def test_a_place_comes_back_from_the_ledger_as_it_was(place: Checkpoint) -> None:
    assert Checkpoint.from_json(place.to_json()) == place


def test_a_place_of_before_there_were_other_kinds_is_read() -> None:
    saved = {"offset": 40, "line": 5, "size": 100, "modified": 7}
    assert Checkpoint.from_json(saved) == Checkpoint(40, 5, 100, 7)


@given(st.integers(0, 40), st.integers(1, 40))
def test_pages_that_go_round_in_a_circle_are_noticed_wherever_and_however_long_it_is(
    before: int, around: int
) -> None:
    pages = chain((f"in {n}" for n in range(before)), cycle([f"round {n}" for n in range(around)]))
    trail: Trail | None = Trail()
    for page in islice(pages, 6 * (before + around) + 6):
        trail = trail and trail.after(page)
    assert trail is None


@given(st.integers(0, 3000))
def test_pages_that_never_come_again_are_no_circle(number: int) -> None:
    trail: Trail | None = Trail()
    for page in range(number):
        trail = trail and trail.after(str(page))
    assert trail is not None

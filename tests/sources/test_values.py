"""Where a run goes on."""

import pytest

from webapp.sources.values import Checkpoint

START = Checkpoint(0, 1, 100, 7)


@pytest.mark.parametrize(
    ("saved", "place"),
    [
        (None, START),
        (Checkpoint(40, 5, 100, 7).to_json(), Checkpoint(40, 5, 100, 7)),
        # The file is another one by now: its bytes mean something else.
        (Checkpoint(40, 5, 101, 7).to_json(), START),
        (Checkpoint(40, 5, 100, 8).to_json(), START),
    ],
)
def test_a_run_goes_on_in_the_same_version_of_its_file_and_else_starts_over(
    saved: dict[str, int] | None, place: Checkpoint
) -> None:
    assert START.resumed(saved) == place

"""The metrics of breakers: how many series there may be."""

import pytest
from prometheus_client import REGISTRY

from webapp import metrics
from webapp.breakers.meters import Meters, count_transition
from webapp.breakers.values import BreakerState
from webapp.metrics import MOST_NAMES, OTHER_NAMES, name_label


def test_hosts_that_people_typed_are_one_series_by_kind() -> None:
    meters = [Meters(f"callback:host{number}.example") for number in range(3)]
    before = _calls("callback:*")
    for counted in meters:
        counted.succeeded()
    assert _calls("callback:*") == before + 3
    assert _calls("callback:host1.example") == 0


def _calls(label: str) -> float:
    labels = {"breaker": label, "outcome": "success"}
    return REGISTRY.get_sample_value("circuit_breaker_calls_total", labels) or 0.0


def test_other_names_are_bounded_and_those_that_came_first_keep_theirs() -> None:
    first = [f"service{number}" for number in range(MOST_NAMES)]
    assert [name_label(name) for name in first] == first
    assert name_label("one too many") == OTHER_NAMES
    assert name_label(first[0]) == first[0]
    count_transition("one too many", BreakerState.OPEN)
    labels = {"breaker": "one too many", "to": "open"}
    assert REGISTRY.get_sample_value("circuit_breaker_transitions_total", labels) is None


@pytest.mark.parametrize("name", ["source:bills", "billing:eu", "callback", "mail"])
def test_names_that_code_or_an_admin_gives_are_their_own(name: str) -> None:
    assert name_label(name) == name
    assert name in metrics._names

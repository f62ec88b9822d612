"""The count of evaluations in one process."""

from webapp.web.limits import EvaluationLimit


def asked(limit: EvaluationLimit, asker: str) -> bool:
    """Ask once, and count what is allowed."""
    if not limit.has_left(asker):
        return False
    limit.count(asker)
    return True


def test_evaluations_of_two_askers_are_two_counts_and_a_new_minute_forgets_both() -> None:
    limit = EvaluationLimit(2)
    assert [asked(limit, "a") for _ in range(3)] == [True, True, False]
    assert asked(limit, "b")
    limit._ends = 0.0
    assert asked(limit, "a")


def test_without_a_limit_nothing_is_counted() -> None:
    limit = EvaluationLimit(0)
    assert all(asked(limit, "a") for _ in range(9))
    assert limit._counts == {}

"""How often and how soon each job type that ships with it is tried again."""

import pytest

from webapp.jobs.registry import find_job_type


@pytest.mark.parametrize(
    ("name", "retries", "first_delay", "factor"),
    [
        ("etl", 3, 300, 2.0),
        ("report_generation", 3, 180, 2.0),
        ("cleanup", 2, 600, 2.0),
        ("notification", 5, 60, 1.5),
        ("webhook_delivery", 5, 30, 2.0),
    ],
)
def test_its_policy_is_as_documented(
    name: str, retries: int, first_delay: int, factor: float
) -> None:
    policy = find_job_type(name).policy
    assert (policy.max_retries, policy.initial_delay, policy.backoff_factor) == (
        retries,
        first_delay,
        factor,
    )

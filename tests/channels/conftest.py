"""What tests of channels share: a receiver on this machine that may be called."""

import pytest

from tests.receivers import (  # noqa: F401 - fixtures
    mailbox,
    nothing_allowed,
    own_breakers,
    receiver,
)


@pytest.fixture(autouse=True)
def breakers_of_its_own(own_breakers: None) -> None:  # noqa: F811 - a fixture
    """Every test has breakers of its own."""

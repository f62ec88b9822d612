"""What tests of jobs that call somebody share."""

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.receivers import (  # noqa: F401 - fixtures
    mailbox,
    nothing_allowed,
    own_breakers,
    receiver,
)


@pytest.fixture
def in_app(app: Flask, own_breakers: None) -> Iterator[None]:  # noqa: F811 - a fixture
    """The application's context, for sessions, and breakers of the test's own."""
    del own_breakers
    with app.app_context():
        yield

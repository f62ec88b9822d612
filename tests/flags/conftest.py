"""Flags are read into memory once a process; each test begins without what the last one left."""

from collections.abc import Iterator

import pytest
from flask import Flask


@pytest.fixture(autouse=True)
def forgotten_flags(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the store of the application, where the test has one, before its database goes."""
    app: Flask | None = None
    if "app" in request.fixturenames:
        app = request.getfixturevalue("app")
    yield
    if app is not None:
        app.extensions["flag_store"].stop()

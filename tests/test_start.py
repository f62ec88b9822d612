"""How a process starts: what imports put off is over once its application stands."""

import gc

from flask import Flask


def test_garbage_is_looked_for_as_usual_once_the_application_stands(app: Flask) -> None:
    assert app.extensions
    assert gc.get_threshold()[0] < 10_000

"""Lists as JSON files: whole, exact, and read batch by batch."""

import json
from collections.abc import Iterator

import pytest
from flask import Flask

from webapp.web.downloads import json_file_answer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


@pytest.mark.parametrize(
    "batches",
    [[], [[]], [[], [1]], [[{"a": 1}]], [[{"a": 2**90}, {"b": "ä\ud800"}], [{"c": None}]]],
)
def test_the_file_is_one_array(app: Flask, batches: list[list[object]]) -> None:
    with app.test_request_context():
        text = json_file_answer(iter(batches), filename="x.json").get_data(as_text=True)
    told = json.loads(text.replace("\\ud800", "\\\\ud800"))
    assert str(told).replace("\\\\", "\\") == str([item for batch in batches for item in batch])


def test_each_batch_is_read_when_it_is_sent(app: Flask) -> None:
    read: list[int] = []

    def batches() -> Iterator[list[int]]:
        for number in range(3):
            read.append(number)
            yield [number]

    with app.test_request_context():
        answer = json_file_answer(batches(), filename="x.json")
        assert read == [0]
        pieces = iter(answer.response)
        next(pieces)
        assert read == [0]
        next(pieces)
        assert read == [0, 1]
    assert answer.headers["Content-Disposition"] == 'attachment; filename="x.json"'

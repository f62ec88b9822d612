"""JSON answers: times, and numbers as they are."""

import json
from datetime import datetime
from types import MappingProxyType

import pytest

from webapp.web.answers import json_answer

GREAT = 2**200 + 1


@pytest.mark.parametrize("number", [7, 2**63 - 1, GREAT])
def test_an_answer_is_the_same_whatever_its_numbers(number: int, now: datetime) -> None:
    body = {"at": now, "arguments": MappingProxyType({"number": number}), "word": "ä"}
    answer = json_answer(body, 202)
    assert (answer.status_code, answer.content_type) == (202, "application/json")
    assert json.loads(answer.get_data()) == {
        "at": "2026-11-22T12:00:00Z",
        "arguments": {"number": number},
        "word": "ä",
    }


@pytest.mark.parametrize("number", [7, GREAT])
def test_what_has_no_json_form_is_a_bug(number: int) -> None:
    with pytest.raises(TypeError):
        json_answer({"number": number, "thing": object()})

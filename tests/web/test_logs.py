"""No secret reaches a log line."""

from typing import Any

import pytest

from webapp.logs import MASK, mask_secrets, mask_text, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter2@localhost:6379/0", f"redis://:{MASK}@localhost:6379/0"),
        ("postgresql://app:p@ss:w@db/x", f"postgresql://app:{MASK}@db/x"),
        ("http://host:8080/path", "http://host:8080/path"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_of_urls_and_bearer_tokens_are_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown


@pytest.mark.parametrize(
    "name",
    ["password", "passwd", "pwd", "API_KEY", "apikey", "api-key", "token", "Set-Cookie", "secret"],
)
def test_fields_that_speak_of_secrets_are_masked_at_every_depth(name: str) -> None:
    event: dict[str, Any] = {name: "x", "inner": {"deep": [{name: "y"}]}, "plain": 1}
    told = mask_secrets(None, "", event)
    assert told == {name: MASK, "inner": {"deep": [{name: MASK}]}, "plain": 1}


def test_other_values_stay_as_they_are() -> None:
    value = {"a": [1, 2.5, None, True], "b": "text"}
    assert masked(value) == value

"""No secret reaches a log line."""

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from webapp import traces
from webapp.logs import (
    MASK,
    _tell_of_end,
    configure_logs,
    get_logger,
    mask_secrets,
    mask_text,
    masked,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter2@localhost:6379/0", f"redis://:{MASK}@localhost:6379/0"),
        ("postgresql://app:p@ss:w@db/x", f"postgresql://app:{MASK}@db/x"),
        ("http://host:8080/path", "http://host:8080/path"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ("Authorization: Basic dTpw, then", f"Authorization: Basic {MASK}, then"),
        ("https://x.example/?api_key=abc&page=2", f"https://x.example/?api_key={MASK}&page=2"),
        ("no answer (client_secret=abc)", f"no answer (client_secret={MASK})"),
        ("login(user='u', password='a b c')", f"login(user='u', password='{MASK}')"),
        ('{"db_password": "a b", "n": 1}', f'{{"db_password": "{MASK}", "n": 1}}'),
        (r'"{\"token\": \"abc\"}"', rf'"{{\"token\": \"{MASK}\"}}"'),
        ("Set-Cookie: a=b; Path=/\nNext", f"Set-Cookie: {MASK}\nNext"),
        ("EDGE_TOKEN: is needed here", "EDGE_TOKEN: is needed here"),
        ("tokens are confirmed, a key is not", "tokens are confirmed, a key is not"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_a_text_itself_calls_secret_is_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown
    assert mask_text(shown) == shown


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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What a server's process writes; the root logger is given back as it was."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    out = StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    configure_logs("INFO")
    yield out
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def lines(written: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_records_of_others_and_errors_that_nobody_caught_are_json_lines(written: StringIO) -> None:
    logging.getLogger("gunicorn.error").info("Booting %s", "worker")
    logging.getLogger("huey").info("left out")
    logging.getLogger("plugin").warning({"token": "hunter2", "rows": 7})
    error = ValueError("password=hunter2")
    _tell_of_end(ValueError, error, None)
    booting, mapping, failed = lines(written)
    assert (booting["event"], booting["level"]) == ("Booting worker", "info")
    assert (mapping["level"], mapping["logger"]) == ("warning", "plugin")
    assert mapping["event"] == f"{{'token': '{MASK}', 'rows': 7}}"
    assert mapping["timestamp"]
    assert (failed["event"], failed["level"]) == ("process_failed", "critical")
    assert failed["exception"].endswith(f"ValueError: password={MASK}")


def test_a_line_says_where_in_a_trace_it_was_written(
    written: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_logger("t").info("outside")
    monkeypatch.setattr(traces, "place", lambda: traces.Place("a" * 32, "b" * 16))
    get_logger("t").info("inside")
    outside, inside = lines(written)
    assert outside.keys() & {"trace_id", "span_id"} == set()
    assert (inside["trace_id"], inside["span_id"]) == ("a" * 32, "b" * 16)

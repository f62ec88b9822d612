"""Which dead letters are the same trouble."""

import pytest

from webapp.dead_letters.fingerprint import fingerprint, generalize, own_place
from webapp.web.filters import traceback_lines

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/tasks/etl.py", line {line}, in ingest
    read()
  File "/srv/app/.venv/lib/python3.12/site-packages/httpx/_client.py", line 9, in send
    raise
httpx.ConnectError: refused
"""


@pytest.mark.parametrize(
    ("message", "general"),
    [
        ("row 12 of 28298 failed", "row <n> of <n> failed"),
        ("user 'mira' not found", "user <text> not found"),
        ('no "airports" here', "no <text> here"),
        ("job 6f1c0a52-1111-4222-8333-944455556666", "job <id>"),
        ("object at 0x7f3a", "object at <id>"),
        ("digest 3f2a9c0d1e4b5a69", "digest <id>"),
        ("took 3.25 s\n  twice", "took <n> s twice"),
        ("connection refused", "connection refused"),
    ],
)
def test_what_differs_from_case_to_case_is_taken_out(message: str, general: str) -> None:
    assert generalize(message) == general


def test_the_place_is_the_innermost_frame_of_our_own_without_its_line() -> None:
    assert own_place(TRACEBACK.format(line=41)) == "/srv/app/tasks/etl.py:ingest"
    assert own_place("") == ""


def test_the_same_trouble_has_the_same_fingerprint() -> None:
    one = fingerprint("etl", "ConnectError", "port 80 refused", TRACEBACK.format(line=41))
    two = fingerprint("etl", "ConnectError", "port 8080 refused", TRACEBACK.format(line=57))
    assert one == two
    assert len(one) == 16


@pytest.mark.parametrize(
    "other",
    [
        ("report", "ConnectError", "port 80 refused", TRACEBACK.format(line=1)),
        ("etl", "ReadError", "port 80 refused", TRACEBACK.format(line=1)),
        ("etl", "ConnectError", "port 80 closed", TRACEBACK.format(line=1)),
        ("etl", "ConnectError", "port 80 refused", ""),
    ],
)
def test_another_trouble_has_another(other: tuple[str, str, str, str]) -> None:
    one = fingerprint("etl", "ConnectError", "port 80 refused", TRACEBACK.format(line=1))
    assert fingerprint(*other) != one


@pytest.mark.parametrize(
    "path",
    [
        "/srv/app/.venv/lib/python3.12/site-packages/httpx/_client.py",
        "/usr/lib/python3/dist-packages/requests/api.py",
        "/usr/lib/python3.12/json/decoder.py",
        "<frozen importlib._bootstrap>",
        "<string>",
        "/srv/app/tasks/etl.py",
    ],
)
def test_what_is_marked_on_a_page_as_own_is_what_a_fingerprint_is_made_of(path: str) -> None:
    text = f'Traceback (most recent call last):\n  File "{path}", line 3, in read\nValueError: x\n'
    marked = [line.kind for line in traceback_lines(text)][1]
    assert (marked == "own") == bool(own_place(text))

"""The rules of accounts, as tables."""

import pytest

from webapp.accounts.policy import (
    local_path,
    lock_seconds,
    normal_username,
    password_problem,
    throttle_keys,
    username_problem,
    wait_in_words,
)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/flags?q=beta&after=3", "/flags?q=beta&after=3"),
        ("/", "/"),
        ("/a//b", "/a//b"),
        ("/[", "/["),
        ("/" + "a" * 1999, "/" + "a" * 1999),
        ("/" + "a" * 2000, "/"),
        ("//[", "/"),
        ("//\u2100.com", "/"),
        ("/flags?next=https://evil.example/", "/flags?next=https://evil.example/"),
        (None, "/"),
        ("", "/"),
        ("flags", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("\t//evil.example", "/"),
        (" //evil.example", "/"),
        ("/%0d%0aSet-Cookie:x", "/%0d%0aSet-Cookie:x"),
    ],
)
def test_only_a_path_of_this_site_is_gone_to(target: str | None, path: str) -> None:
    assert local_path(target) == path


@pytest.mark.parametrize(
    ("tries", "seconds"),
    [(0, 0), (4, 0), (5, 30), (6, 60), (7, 120), (11, 1920), (12, 3600), (13, 3600), (9999, 3600)],
)
def test_a_lock_begins_at_the_fifth_try_and_doubles_up_to_an_hour(tries: int, seconds: int) -> None:
    assert lock_seconds(tries) == seconds


@pytest.mark.parametrize(
    ("username", "right"),
    [
        ("anna", True),
        ("anna.lind@example.org", True),
        ("a", True),
        ("7", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        (".anna", False),
        ("anna lind", False),
        ("anna\n", False),
        ("<b>", False),
        ("ånna", False),
    ],
)
def test_a_username_is_short_and_plain(username: str, right: bool) -> None:
    assert (username_problem(username) is None) == right


def test_case_and_outer_spaces_of_a_username_do_not_matter() -> None:
    assert normal_username(" Anna ") == "anna"


@pytest.mark.parametrize(
    ("password", "right"),
    [
        ("correct horse", True),
        ("twelve chars", True),
        ("eleven char", False),
        ("", False),
        ("Anna.Lind.Stockholm", False),
        ("aaaaaaaaaaaaaaaa", False),
        ("ö" * 6 + "ä" * 6, True),
        ("ab" * 512, True),
        ("ab" * 512 + "c", False),
    ],
)
def test_a_password_is_long_and_not_the_username(password: str, right: bool) -> None:
    assert (password_problem(password, "anna.lind.stockholm") is None) == right


def test_tries_count_against_one_account_however_its_name_is_written() -> None:
    assert throttle_keys(" Anna", "192.0.2.7") == ("account:anna", "address:192.0.2.7")
    assert len(throttle_keys("x" * 5000, "y" * 5000)[0]) < 128


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 second"), (29.2, "30 seconds"), (120, "120 seconds"), (121, "3 minutes")],
)
def test_a_wait_is_never_told_too_short(seconds: float, words: str) -> None:
    assert wait_in_words(seconds) == words

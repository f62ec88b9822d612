"""Ways in that are known to be tried on whatever has pages, and are shut: by a real client."""

import csv
import io
import string
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st

from tests.architecture.routes import routes_of
from tests.conftest import PASSWORD, ConsoleClient
from tests.jobs.test_api import bearer
from webapp.accounts.policy import local_path
from webapp.roles import Role
from webapp.web.security import MOST_BYTES
from webapp.web.spreadsheets import csv_answer

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

ELSEWHERE: Final = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\x00//evil.example",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "//admin@evil.example",
    "https://console.example@evil.example",
    "https://console.example\\@evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    " //evil.example",
    "http://[::1]/",
    "@evil.example",
    ".evil.example",
]


def gone_to(location: str, origin: str = "https://console.example") -> str:
    """Where a browser goes from one of our pages, as the URL standard says."""
    cleaned = location.strip("".join(map(chr, range(33))))
    for ignored in "\t\r\n":
        cleaned = cleaned.replace(ignored, "")
    cleaned = cleaned.replace("\\", "/")
    if urlsplit(cleaned).scheme:
        return cleaned
    return f"https:{cleaned}" if cleaned.startswith("//") else f"{origin}{cleaned}"


@example("/\t/evil.example")
@example("/flags?q=1#x")
@given(st.lists(st.sampled_from([*"/\\@:.?#[]% \t\r\n\0evil", "//", "https:"])).map("".join))
def test_whatever_follows_sign_in_stays_on_this_site(target: str) -> None:
    assert gone_to(local_path(target)).startswith("https://console.example/")


@on_sqlite
@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_sign_in_leads_elsewhere(viewer: ConsoleClient, app: Flask, target: str) -> None:
    browser = app.test_client()
    door = browser.get(f"/sign-in?next={quote(target)}")
    assert door.status_code in {200, 400}
    assert 'name="next" value="/"' in door.text or door.status_code == 400
    entered = browser.post(
        "/sign-in", data={"username": "viewer", "password": PASSWORD, "next": target}
    )
    assert entered.headers.get("Location", "/") == "/"


@on_sqlite
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\u560d\u560a", "\x0b", "\x85"])
def test_nothing_that_is_typed_begins_a_header(viewer: ConsoleClient, app: Flask, end: str) -> None:
    text = f"/flags{end}X-Evil: yes{end}{end}<p>"
    browser = app.test_client()
    typed = {"username": "viewer", "password": PASSWORD, "next": text}
    answers = [
        viewer.get(f"/sign-in?next={quote(text)}"),
        viewer.get(f"/flags?q={quote(text)}&sort={quote(text)}"),
        viewer.get(f"/audit/export?name={quote(text)}"),
        viewer.get("/health", headers={"X-Request-ID": quote(text)}),
        viewer.htmx("/jobs", quote(text)),
        app.test_client().get(f"/flags?q={quote(text)}"),
        browser.post("/sign-in", data=typed),
    ]
    for answer in answers:
        assert "X-Evil" not in answer.headers
        raw = [text for pair in answer.headers.items() for text in pair]
        assert not any(set(text) & set("\r\n\0") for text in raw)


@on_sqlite
@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        ("[" * 200_000, {400}),
        ('{"a":' * 100_000, {400}),
        ('{"name":' + "[" * 50_000 + "]" * 50_000 + "}", {400, 422}),
        ('"' + "x" * MOST_BYTES + '"', {400, 413}),
        ('{"n":' + "9" * 100_000 + "}", {400, 422}),
    ],
    ids=["deep lists", "deep objects", "deep and closed", "oversized", "a great number"],
)
def test_no_body_is_too_deep_or_too_large_for_an_answer(
    app: Flask, client: ConsoleClient, body: str, statuses: set[int]
) -> None:
    headers = bearer(app, Role.ADMIN) | {"Content-Type": "application/json"}
    client.csrf = False
    # Those that read no body, or look first for what does not exist.
    others = {200, 404, 405, 409}
    told = {}
    for route in routes_of(app):
        if route.writes and route.rule.startswith("/api/"):
            answer = client.open(route.url, method=route.method, data=body, headers=headers)
            told[f"{route.method} {route.rule}"] = answer.status_code
            assert answer.status_code == 200 or answer.content_type == "application/problem+json"
    assert {line: status for line, status in told.items() if status not in statuses | others} == {}
    assert set(told.values()) & statuses


@on_sqlite
@pytest.mark.parametrize(
    "form",
    [
        {"data": {"username": "x" * 2 * MOST_BYTES}},
        {
            "data": {f"field{number}": "x" for number in range(1_500)},
            "content_type": "multipart/form-data",
        },
    ],
    ids=["oversized", "many parts"],
)
def test_a_form_without_measure_is_refused(client: ConsoleClient, form: dict[str, Any]) -> None:
    answer = client.post("/sign-in", **form)
    assert answer.status_code == 413
    assert "too large" in answer.text


@on_sqlite
@pytest.mark.parametrize(
    "path",
    [
        "/static/../wsgi.py",
        "/static/..%2fwsgi.py",
        "/static/%2e%2e/wsgi.py",
        "/static/%2e%2e%2fwsgi.py",
        "/static/css/../../wsgi.py",
        "/static/..%5cwsgi.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/css/base.css%00.txt",
        "/static/....//wsgi.py",
        "/static/",
        "/static/css",
    ],
)
def test_no_file_is_sent_but_static_ones(client: ConsoleClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in {400, 404}
    assert b"tasks.application" not in answer.data
    assert b"root:x:" not in answer.data


FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
CELLS: Final = st.lists(
    st.lists(
        st.text(st.sampled_from([*FORMULA, *"'\",; |", *string.ascii_letters, "\0", "é"])),
        min_size=3,
        max_size=3,
    ),
    max_size=4,
)


@example([["=1+1", "'=1", '"=1'], ["\t=1", "a\n=1", "@x"]])
@given(CELLS)
def test_no_cell_of_a_file_begins_a_formula_and_none_is_lost(rows: list[list[str]]) -> None:
    head = ["=a", "b", "c"]
    with Flask(__name__).test_request_context():
        text = csv_answer(head, iter([rows]), filename="x.csv").get_data(as_text=True)
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert not any(cell.startswith(FORMULA) for row in read for cell in row)
    for row, sent in zip(read, [head, *rows], strict=True):
        for cell, was in zip(row, sent, strict=True):
            assert cell in {was, f"'{was}"}


@on_sqlite
def test_a_session_that_somebody_planted_does_not_become_another_persons(
    viewer: ConsoleClient, app: Flask
) -> None:
    attacker, victim = app.test_client(), app.test_client()
    attacker.get("/sign-in")
    name = app.config["SESSION_COOKIE_NAME"]
    planted = attacker.get_cookie(name)
    assert planted is not None
    victim.set_cookie(name, planted.value)
    entered = victim.post("/sign-in", data={"username": "viewer", "password": PASSWORD})
    assert entered.status_code == 303
    own = victim.get_cookie(name)
    assert own is not None
    assert own.value != planted.value
    assert victim.get("/account").status_code == 200
    assert attacker.get("/account").status_code == 302


@on_sqlite
def test_no_page_of_an_error_repeats_what_was_sent(client: ConsoleClient) -> None:
    text = "<script>alert(1)</script>"
    for answer in (
        client.get(f"/{quote(text)}"),
        client.get(f"/api/v1/{quote(text)}"),
        client.post("/sign-in", data={"username": text, "password": text}),
        client.open("/sign-in", method="PATCH", data=text),
    ):
        assert text not in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

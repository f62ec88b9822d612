"""Whatever somebody types into an address: an answer, never an internal error."""

import json

import pytest
from flask import Flask

from tests.architecture.routes import routes_of
from tests.conftest import ConsoleClient
from tests.jobs.test_api import bearer
from webapp.roles import Role

ODD = {
    "a NUL": "%00",
    "beyond 64 bits": "9" * 30,
    "five thousand digits": "9" * 5000,
    "negative": "-1",
    "half a character": "%ED%A0%80",
    "quotes": "'\";--",
    "a percent sign": "%25",
    "long": "x" * 5000,
    "nought": "0",
    "an Arabic digit": "٣",
}
NAMES = [
    *("q", "state", "status", "type", "fingerprint", "before", "after", "sort", "environment"),
    *("tag", "subject", "actor", "action", "name", "from", "to", "next", "skip", "limit"),
    *("user_id", "endpoint", "_anchor", "_scheme", "_external", "_method", "values"),
]
# One that is refused hides what comes after it in the same address.
REFUSALS = (400, 422)
REFUSED_ALONE = ("q", "before", "next", "from", "skip", "limit", "_scheme")


@pytest.mark.parametrize("name", ODD)
def test_every_page_answers_an_odd_query(admin: ConsoleClient, app: Flask, name: str) -> None:
    odd = ODD[name]
    together = "&".join(f"{key}={odd}" for key in NAMES)
    alone = [f"{key}={odd}" for key in REFUSED_ALONE]
    for route in routes_of(app):
        if route.method == "GET":
            status = ask(admin, f"{route.url}?{together}")
            if status in REFUSALS:
                for query in alone:
                    ask(admin, f"{route.url}?{query}")


def ask(admin: ConsoleClient, address: str) -> int:
    """Ask for an address; whatever the answer is, the server has not failed."""
    answer = admin.get(address)
    assert answer.status_code < 500, address[:300]
    return answer.status_code


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", ["/jobs/{}", "/dead-letters/{}", "/flags/{}", "/sources/{}"])
def test_every_page_answers_an_odd_name(admin: ConsoleClient, place: str, name: str) -> None:
    address = place.format(ODD[name])
    assert admin.get(address).status_code in {400, 404}
    assert admin.post(f"{address}/retry").status_code in {400, 404, 405}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[" * 100_000, 400),
        ("{", 400),
        ("[]", 400),
        ('"text"', 400),
        (json.dumps({"unique_key": "a\0b"}), 422),
        (json.dumps({"run_at": "0001-01-01T00:00:00+14:00"}), 422),
        (json.dumps({"run_at": "9999-12-31T23:59:00-14:00"}), 422),
        (json.dumps({"priority": 10**30}), 422),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_odd_body_is_refused_with_a_reason(
    app: Flask, client: ConsoleClient, body: str, status: int
) -> None:
    headers = bearer(app, Role.OPERATOR) | {"Content-Type": "application/json"}
    answer = client.post("/api/v1/queue/jobs/test_echo", data=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.get_json()["detail"]


def test_links_keep_the_query_and_none_of_it_becomes_an_option(admin: ConsoleClient) -> None:
    page = admin.get("/jobs?_scheme=javascript&_external=1&q=x").text
    assert "javascript:" not in page
    assert "q=x" in page
    assert "_scheme=javascript" in page


def test_two_slashes_are_no_redirect_to_whatever_the_host_header_says(
    client: ConsoleClient,
) -> None:
    answer = client.get("/flags//f1", headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "Location" not in answer.headers

"""What the command line tells about errors."""

import pytest
from click.testing import Result
from flask import Flask


def explain(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["guards", "explain", *words])


def test_a_status_is_explained_attempt_by_attempt(app: Flask) -> None:
    done = explain(app, "429", "--retry-after", "20")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "class     rate_limited, by http status 429",
        "breaker   neutral",
        "attempt 1 is repeated after about 22.5 s (aggressive)",
        "attempt 2 is repeated after about 22.5 s (aggressive)",
        "attempt 3 is the last: 3 attempts failed; a job is put off for 20 s",
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("redis.exceptions.AuthenticationError", "class     unauthorized"),
        ("psycopg.errors.SerializationFailure", "class     network, by sqlstate 40001"),
        # Its constructor wants arguments.
        ("json.JSONDecodeError", "class     malformed"),
        ("KeyError", "class     bug"),
    ],
)
def test_a_type_of_exception_is_explained(app: Flask, name: str, told: str) -> None:
    assert explain(app, name).output.startswith(told)


@pytest.mark.parametrize("name", ["no.such.Type", "os.path", "int"])
def test_what_is_no_type_of_exception_is_refused(app: Flask, name: str) -> None:
    assert explain(app, name).exit_code == 2

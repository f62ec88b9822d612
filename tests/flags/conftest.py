"""Programs that ask the JSON API of flags, and a database that can be taken away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.roles import Role

URL = "/api/v1/feature-flags"
Send = Callable[..., TestResponse]


@pytest.fixture
def send(app: Flask) -> Send:
    """Send a request as a program with a role, bound to an environment or to none.

    The path follows that of the flags; ``base`` is another's.  ``key`` is for idempotency.
    """
    tokens: dict[tuple[Role, str | None], str] = {}

    def request(
        method: str,
        path: str = "",
        role: Role = Role.ADMIN,
        bound: str | None = None,
        base: str = URL,
        key: str | None = None,
        **kwargs: Any,
    ) -> TestResponse:
        if (role, bound) not in tokens:
            with app.app_context(), transaction() as session:
                tokens[role, bound] = make_token(session, role, bound)
        headers = {"Authorization": f"Bearer {tokens[role, bound]}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        client = FlaskClient(app, use_cookies=False)
        return client.open(base + path, method=method, headers=headers, **kwargs)

    return request


def make_token(session: Any, role: Role, bound: str | None) -> str:
    made = create_token(
        session,
        name=f"test-{role}-{bound}",
        role=role,
        environment=bound,
        by=COMMAND,
        now=clock_now(),
    )
    return made.text


class SwitchableDatabase:
    """The application's database, behind a switch that takes it away."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.away = False

    @contextmanager
    def open_session(self) -> Iterator[Session]:
        if self.away:
            raise OperationalError("SELECT 1", {}, Exception("the database is away"))
        with self.app.app_context(), reading() as session:
            yield session

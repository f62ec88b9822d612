"""What a page costs: so many statements, however long its list is."""

import re
from datetime import datetime

from flask import Flask

from tests.architecture.population import populate
from tests.conftest import ConsoleClient
from tests.statements import statements
from webapp.db import db, will_write

# The most that a page may cost, its session and the navigation's counts included.
MOST = 12
PAGES = (
    "/",
    "/flags",
    "/flags/segments",
    "/flags/groups",
    "/jobs",
    "/jobs/batches",
    "/jobs/types",
    "/dead-letters",
    "/dead-letters/list",
    "/schedules",
    "/workers",
    "/breakers",
    "/sources",
    "/models",
    "/reports",
    "/alerts",
    "/alerts/rules",
    "/alerts/silences",
    "/channels",
    "/audit",
    "/settings/users",
    "/settings/tokens",
    "/idempotency-keys",
)
# One thing of many, with all that its page can tell.
ONE = (
    "/flags/flag.number1?subject=a&attributes={}",
    "/flags/flag.number1/edit",
    "/flags/import",
    "/jobs/types/etl",
    "/breakers/source:source1",
    "/alerts/2",
    "/alerts?state=active",
    "/alerts?q=etl",
    "/alerts/rules/rule1",
    "/alerts/rules/rule1/edit",
    "/alerts/silences/new",
    "/account",
    "/settings/system",
    "/sources/source1",
    "/models/2",
    "/models/versions/3",
    "/models/new?source=source1",
    "/jobs/bulk?action=retry&scope=all",
    "/jobs?type=etl&queue=default&q=source:source1",
)
# As long as the list is; SQLite and PostgreSQL write its places each in their own way.
IN_LIST = re.compile(r"\bIN \((?:\?|%\(\w+\)s(?:::\w+)?|, )*\)")
FEW = range(5)
REST = range(5, 60)


def test_a_long_list_costs_as_few_statements_as_a_short_one(
    app: Flask, admin: ConsoleClient, now: datetime
) -> None:
    few = costs(app, admin, FEW, now)
    many = costs(app, admin, REST, now)
    dear = {path: "\n\n".join(asked) for path, asked in few.items() if len(asked) > MOST}
    assert dear == {}
    assert many == few


def costs(app: Flask, admin: ConsoleClient, more: range, now: datetime) -> dict[str, list[str]]:
    """Return the statements of each page once there are more things of each kind."""
    with app.app_context(), will_write():
        populate(db.session(), more, now=now)
        db.session.commit()
    return {path: cost(app, admin, path) for path in (*PAGES, *ONE)}


def cost(app: Flask, admin: ConsoleClient, path: str) -> list[str]:
    # The first request of a process reads the flags and loads templates.
    assert admin.get(path).status_code == 200
    with statements(app) as seen:
        answer = admin.get(path)
    assert answer.status_code == 200
    return [IN_LIST.sub("IN (...)", statement) for statement in seen]

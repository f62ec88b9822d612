"""OpenFeature's own clients against a running console: every kind of value, and what goes wrong."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import ProviderStatus
from openfeature.provider._registry import provider_registry

from tests.conftest import end, make_settings
from tests.flags.conftest import make_token
from tests.sdks.conftest import Console, RunNode, answering
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.values import Condition, FlagDraft, Operator, Rule, Variant
from webapp.roles import Role

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

PRO: Final = Condition(attribute="plan", operator=Operator.IN, values=("pro",))
OBJECT: Final = {"hex": "#00f", "é": [1, 2.5, None, True]}


def always(name: str, value: Any, *, enabled: bool = True) -> FlagDraft:
    variant = Variant(name="only", weight=1, value=value)
    return FlagDraft(name=name, enabled=enabled, percentage=100, variants=(variant,))


DRAFTS: Final = (
    FlagDraft(name="a.on", enabled=True, percentage=100),
    FlagDraft(name="b.half", enabled=True, percentage=50),
    always("c.text", "blue"),
    always("d.whole", 3),
    always("e.float", 1.0),
    always("f.object", OBJECT),
    FlagDraft(name="g.killed", percentage=100),
    always("h.killed.text", "blue", enabled=False),
    FlagDraft(
        name="i.rule", enabled=True, rules=(Rule(name="r", conditions=(PRO,), percentage=100),)
    ),
)
# What user-1 is answered; plan decides the last.
VALUES: Final[dict[str, tuple[Any, str, str]]] = {
    "a.on": (True, "STATIC", "on"),
    "b.half": (True, "SPLIT", "on"),
    "c.text": ("blue", "STATIC", "only"),
    "d.whole": (3, "STATIC", "only"),
    "e.float": (1, "STATIC", "only"),
    "f.object": (OBJECT, "STATIC", "only"),
    "g.killed": (False, "DISABLED", "off"),
    "h.killed.text": ("default", "DISABLED", "off"),
    "i.rule": (False, "STATIC", "off"),
}


@pytest.fixture
def token(app: Flask, now: datetime) -> str:
    with app.app_context(), transaction() as session:
        for draft in DRAFTS:
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
        return make_token(session, Role.VIEWER, None)


@pytest.fixture
def console(app: Flask) -> Iterator[Console]:
    with answering(app) as found:
        yield found


@pytest.fixture
def strict(app: Flask, tmp_path: Path) -> Iterator[Console]:
    """A console that lets each program ask twice a minute."""
    settings = make_settings(
        tmp_path,
        DATABASE_URL=app.extensions["settings"].database_url,
        REQUEST_LIMITS="true",
        REQUEST_LIMIT_EVALUATIONS="2",
    )
    made = create_app(settings)
    with answering(made) as found:
        yield found
    end(made)


def client_of(console: Console, token: str, header: str = "X-API-Key") -> OpenFeatureClient:
    shown = token if header == "X-API-Key" else f"Bearer {token}"
    provider = OFREPProvider(console.url, headers_factory=lambda: {header: shown})
    domain = f"{console.url}-{token[-6:]}-{header}"
    provider_registry.set_provider(domain, provider, wait_for_init=True)
    client = OpenFeatureClient(domain, None)
    assert client.get_provider_status() == ProviderStatus.READY
    return client


def told(details: FlagEvaluationDetails[Any]) -> tuple[Any, str, str | None]:
    assert details.error_code is None, details.error_message
    return details.value, str(details.reason), details.variant


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_the_python_client_gets_every_kind_of_value(
    console: Console, token: str, header: str
) -> None:
    client = client_of(console, token, header)
    free = EvaluationContext("user-1", {"plan": "free", "seats": 3, "list": ["a"]})
    assert told(client.get_boolean_details("a.on", False, free)) == VALUES["a.on"]
    assert told(client.get_boolean_details("b.half", False, free)) == VALUES["b.half"]
    assert told(client.get_string_details("c.text", "default", free)) == VALUES["c.text"]
    assert told(client.get_integer_details("d.whole", -1, free)) == VALUES["d.whole"]
    assert told(client.get_float_details("e.float", -1.0, free)) == VALUES["e.float"]
    assert told(client.get_object_details("f.object", {}, free)) == VALUES["f.object"]
    assert told(client.get_boolean_details("g.killed", True, free)) == VALUES["g.killed"]
    assert (
        told(client.get_string_details("h.killed.text", "default", free))
        == (VALUES["h.killed.text"])
    )
    assert told(client.get_boolean_details("i.rule", True, free)) == VALUES["i.rule"]
    pro = EvaluationContext("user-1", {"plan": "pro"})
    details = client.get_boolean_details("i.rule", False, pro)
    assert told(details) == (True, "TARGETING_MATCH", "on")
    assert details.flag_metadata == {"decision": "rule", "rule": "r"}
    assert set(console.statuses("/ofrep/v1/evaluate/flags/i.rule")) == {200}


def test_the_python_client_understands_what_goes_wrong(
    console: Console, strict: Console, token: str
) -> None:
    client, somebody = client_of(console, token), EvaluationContext("user-1")

    def failed(details: FlagEvaluationDetails[Any]) -> ErrorCode | None:
        assert details.value == "default" or details.value is False
        return details.error_code

    assert failed(client.get_boolean_details("none", False, somebody)) == ErrorCode.FLAG_NOT_FOUND
    nobody = client.get_boolean_details("b.half", False)
    assert failed(nobody) == ErrorCode.TARGETING_KEY_MISSING
    assert "targetingKey" in str(nobody.error_message)
    asked = client.get_string_details("a.on", "default", somebody)
    assert failed(asked) == ErrorCode.TYPE_MISMATCH
    worthless = client_of(console, "swy_invented").get_boolean_details("a.on", False, somebody)
    assert (failed(worthless), worthless.error_message) == (ErrorCode.GENERAL, "unauthorized")
    limited = client_of(strict, token)
    answers = [limited.get_boolean_details("a.on", False, somebody) for _ in range(4)]
    assert [answer.value for answer in answers] == [True, True, False, False]
    # Once refused, it asks no more before the time that it was told.
    assert strict.statuses("/ofrep/v1/evaluate/flags/a.on") == [200, 200, 429]
    assert "paused" in str(answers[-1].error_message)


def test_the_clients_for_javascript_get_the_same(
    console: Console, strict: Console, token: str, run_node: RunNode
) -> None:
    worthless = "swy_invented"
    given = {"url": console.url, "strict": strict.url, "token": token, "worthless": worthless}
    found = run_node("openfeature.cjs", **given)
    for kind in ("server", "web"):
        answers = found[kind]
        for plan in ("free", "pro"):
            expected = dict(VALUES)
            if plan == "pro":
                expected["i.rule"] = (True, "TARGETING_MATCH", "on")
            if kind == "server":
                # It takes an answer without a value for an error; the default stands even so.
                refused = answers[plan].pop("h.killed.text")
                assert (refused["value"], refused["errorCode"]) == ("default", "GENERAL")
                del expected["h.killed.text"]
            assert answers[plan].pop("none")["errorCode"] == "FLAG_NOT_FOUND"
            assert {
                name: (item["value"], item["reason"], item["variant"])
                for name, item in answers[plan].items()
            } == expected
        assert answers["nobody"]["b.half"]["errorCode"] == "TARGETING_KEY_MISSING"
        assert answers["nobody"]["c.text"]["value"] == "blue"
    web, server = found["web"], found["server"]
    # The third context has the same answer, and the tag that came with it.
    statuses = console.statuses("/ofrep/v1/evaluate/flags")
    assert statuses == [200, 200, 304, 200, 401]
    assert web["again"] == web["pro"] | {"none": web["again"]["none"]}
    assert web["worthless"] == "FATAL"
    assert web["limited"] == "ERROR"
    assert strict.statuses("/ofrep/v1/evaluate/flags") == [429]
    assert server["worthless"]["errorCode"] == "GENERAL"
    assert [item["value"] for item in server["limited"]] == [True, True, False]

"""Code to copy: it runs, and the endpoint that it names answers."""

import ast
import json
import shlex

import pytest

from webapp.flags.snippets import curl_code, python_code
from webapp.flags.values import Condition, FlagDefinition, Operator, Rule, Variant

PLAN = Condition(attribute="plan", operator=Operator.IN, values=("pro's", "team"))
PLAIN = FlagDefinition(name="ui.beta")
RICH = FlagDefinition(
    name="ui.beta",
    rules=(Rule(name="a", conditions=(PLAN,), percentage=5.0),),
    variants=(Variant(name="blue", weight=1),),
)


@pytest.mark.parametrize("flag", [PLAIN, RICH])
def test_the_python_code_is_python_and_imports_what_it_calls(flag: FlagDefinition) -> None:
    tree = ast.parse(python_code(flag))
    imported = {
        name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert imported == called
    assert ("evaluate" in called) is bool(flag.variants)


@pytest.mark.parametrize(
    ("flag", "body"),
    [
        (PLAIN, {"user_id": "user-123"}),
        (RICH, {"user_id": "user-123", "attributes": {"plan": "pro's"}}),
    ],
)
def test_the_shell_reads_the_body_as_it_was_meant(flag: FlagDefinition, body: object) -> None:
    words = shlex.split(curl_code(flag, "http://localhost/a").replace("\\\n", ""))
    assert words[:4] == ["curl", "-X", "POST", "http://localhost/a"]
    assert json.loads(words[words.index("-d") + 1]) == body

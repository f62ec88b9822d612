"""Code to copy: it runs, and the endpoint that it names answers."""

import ast
import json
import shlex
from dataclasses import replace

import pytest

from webapp.flags.snippets import curl_code, openfeature_code, python_code, unleash_code
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


def kept(tree: ast.Module, name: str) -> object:
    """What a name is given by a statement of its own."""
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return ast.literal_eval(value)


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ((), "get_boolean_value('ui.beta', False, context)"),
        ((None,), "get_boolean_value('ui.beta', False, context)"),
        (("blue", None), "get_string_value('ui.beta', '', context)"),
        ((1, 2), "get_integer_value('ui.beta', 0, context)"),
        ((1, 2.5), "get_float_value('ui.beta', 0.0, context)"),
        ((True,), "get_boolean_value('ui.beta', False, context)"),
        (({"a": 1},), "get_object_value('ui.beta', {}, context)"),
        (([1],), "get_object_value('ui.beta', [], context)"),
        (("a", 1), "get_object_value('ui.beta', {}, context)"),
    ],
)
def test_an_openfeature_client_asks_for_the_kind_of_value_that_the_flag_has(
    values: tuple[object, ...], asked: str
) -> None:
    variants = tuple(
        Variant(name=str(number), weight=1, value=value) for number, value in enumerate(values)
    )
    code = openfeature_code(replace(RICH, variants=variants), "https://console.example")
    tree = ast.parse(code)
    assert ast.unparse(tree.body[-1]) == f"get_client().{asked}"
    assert "EvaluationContext('user-123', {'plan': \"pro's\"})" in ast.unparse(tree)
    assert "OFREPProvider('https://console.example'," in ast.unparse(tree)


@pytest.mark.parametrize(
    ("flag", "context", "asked"),
    [
        (PLAIN, {"userId": "user-123"}, "is_enabled"),
        (RICH, {"userId": "user-123", "properties": {"plan": "pro's"}}, "get_variant"),
    ],
)
def test_an_unleash_sdk_decides_by_what_rules_look_at(
    flag: FlagDefinition, context: object, asked: str
) -> None:
    tree = ast.parse(unleash_code(flag, "https://console.example"))
    assert kept(tree, "context") == context
    assert ast.unparse(tree.body[-1]) == f"client.{asked}('ui.beta', context)"
    assert "UnleashClient('https://console.example/api', 'my-app'," in ast.unparse(tree)

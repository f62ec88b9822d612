"""Who may import whom, and what modules may be called: the map of the code, checked."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("webapp", "tasks")

# A name of these says nothing: the noun that the function belongs to is missing.
NAMELESS = re.compile(r"utils?|helpers?|common|managers?|misc")

# File names that are promises: what stands there decides, and touches nothing.
PURE_NAMES = frozenset(
    {
        "addresses",
        "batches",
        "bucketing",
        "chain",
        "choice",
        "classification",
        "conflicts",
        "constraints",
        "differences",
        "documents",
        "evaluation",
        "explanation",
        "fingerprint",
        "lifecycle",
        "policy",
        "rollout",
        "rows",
        "sampling",
        "signatures",
        "snippets",
        "staleness",
        "targeting",
        "timing",
        "typed",
        "values",
    }
)
# The rest of the standard library is for computing.
INPUT_OUTPUT = frozenset(
    {"io", "logging", "os", "random", "secrets", "shutil", "socket", "sqlite3", "subprocess"}
    | {"tempfile", "threading", "time", "urllib.request", "uuid"}
)
PURE_LIBRARIES = frozenset({"cronsim", "jwt", "mmh3", "re2", "semver"})
PURE_PLUMBING = frozenset(
    {"webapp.actors", "webapp.errors", "webapp.moments", "webapp.networks", "webapp.reasons"}
    | {"webapp.roles", "webapp.tracebacks"}
)
# The operating system's numbers are constants; where files are is not asked.
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})
CLOCKS = frozenset({"now", "utcnow", "today"})


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def pure_modules() -> list[Path]:
    return [path for path in modules() if path.stem in PURE_NAMES and path.parent.name != "webapp"]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_contracts_between_the_packages_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(
        config_filename=str(ROOT / "pyproject.toml"), no_logo=True, cache_dir=None
    )
    assert status == 0, capsys.readouterr().out


def test_every_module_and_every_capability_says_what_it_is_for() -> None:
    silent = [shown(path) for path in modules() if not ast.get_docstring(parsed(path))]
    assert silent == []
    folders = [path for path in (ROOT / "webapp").iterdir() if any(path.glob("*.py"))]
    assert [shown(path) for path in folders if not (path / "__init__.py").exists()] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    places = [*modules(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    nameless = [
        shown(path)
        for path in places
        if any(NAMELESS.fullmatch(part) for part in (*path.relative_to(ROOT).parts, path.stem))
    ]
    assert nameless == []


def test_pure_modules_import_computation_only() -> None:
    found = [
        f"{shown(path)} imports {name}"
        for path in pure_modules()
        for name in imported(parsed(path))
        if not may_import(name)
    ]
    assert found == []


def test_pure_modules_read_no_clock_and_open_nothing() -> None:
    found = [
        f"{shown(path)}:{call.lineno} calls {ast.unparse(call.func)}"
        for path in pure_modules()
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call) and is_impure(call.func)
    ]
    assert found == []


def test_imports_stand_at_the_top_of_a_module() -> None:
    """One inside a function hides a cycle."""
    hidden = [
        f"{shown(path)}:{inner.lineno}"
        for path in modules()
        for function in ast.walk(parsed(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []


def test_the_clock_is_read_in_one_place() -> None:
    found = [
        f"{shown(path)}:{call.lineno}"
        for path in modules()
        if shown(path) != "webapp/clock.py"
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call) and is_clock(call.func)
    ]
    assert found == []


def test_edges_hold_no_sql() -> None:
    """Pages, APIs and tasks call services and queries; a statement there would be read nowhere."""
    edges = [path for path in modules() if path.stem in {"pages", "api"} or is_task(path)]
    found = [
        f"{shown(path)} imports {name}"
        for path in edges
        for name in imported(parsed(path))
        if name in {"sqlalchemy.select", "sqlalchemy.update", "sqlalchemy.insert"}
        or name in {"sqlalchemy.delete", "sqlalchemy.text"}
    ]
    assert found == []


def imported(module: ast.Module) -> Iterator[str]:
    """Yield what a module imports, each as the longest name that the import states."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def may_import(name: str) -> bool:
    root, _, inside = name.partition(".")
    if root in PACKAGES:
        return name.rpartition(".")[0] in PURE_PLUMBING or is_pure(inside.split("."))
    if root in sys.stdlib_module_names:
        return not any(name == bad or name.startswith(f"{bad}.") for bad in INPUT_OUTPUT)
    assert root in packages_distributions(), f"{name} is installed by nothing"
    return root in PURE_LIBRARIES


def is_pure(parts: list[str]) -> bool:
    """Tell whether ``<capability>.<module>.<name>`` lies in a module whose name is a promise."""
    return len(parts) > 1 and parts[1] in PURE_NAMES


def is_impure(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in IMPURE_CALLS
    return is_clock(function)


def is_clock(function: ast.expr) -> bool:
    """Tell a call such as ``datetime.now``."""
    return (
        isinstance(function, ast.Attribute)
        and function.attr in CLOCKS
        and isinstance(function.value, ast.Name)
        and function.value.id in {"datetime", "date"}
    )


def is_task(path: Path) -> bool:
    return path.parent.name == "tasks"

"""The alerts and dashboards that are shipped: they are sound, and ask for what there is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import Histogram

from tests.servers import find_prometheus, missing_server
from tests.telemetry.test_families import declared
from webapp import metrics

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
RULES = PROMETHEUS / "rules.yml"
HISTOGRAMS = {
    described.name
    for family in vars(metrics).values()
    if isinstance(family, Histogram)
    for described in family.describe()
}
# What Prometheus itself adds to each sample, and tells of each target.
ADDED = {"instance", "job"}
UP = "up"
# Words of the language that no parenthesis follows.
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}


def promtool(*words: str | Path, cwd: Path = ROOT, stdin: str = "") -> str:
    programs = find_prometheus() or missing_server("prometheus")
    done = subprocess.run(
        [programs / "promtool", *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rule_expressions() -> list[str]:
    """Return the expressions of the rules: one line each, or a block."""
    block = re.compile(r"^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", re.MULTILINE)
    return [several or one for several, one in block.findall(RULES.read_text())]


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def dashboard_expressions(file: Path) -> list[str]:
    return [target["expr"] for panel in panels(file) for target in panel["targets"]]


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each family that an expression names, with the labels that it is narrowed by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    # Durations, and the dashboards' own.
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    for name, matchers in re.findall(r"\b([a-z_]\w*)\b(?!\s*\()(\s*\{[^}]*\})?", bare):
        if name in WORDS or re.search(rf"\{{[^}}]*\b{name}\s*[=!]", bare):
            continue
        yield name, set(re.findall(r"(\w+)\s*[=!]", matchers))


def grouped_by(expression: str) -> set[str]:
    found = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    return {label.strip() for labels in found for label in labels.split(",")}


def labels_of(name: str) -> set[str]:
    """Return the labels of what is scraped under a name; a KeyError where nothing is."""
    if name == UP:
        return ADDED
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    if base in HISTOGRAMS:
        assert base != name, f"{name} is no sample of its histogram"
        return {*declared()[base], *ADDED, *({"le"} if name.endswith("_bucket") else ())}
    return {*declared()[name], *ADDED}


def check_that_all_is_there(expression: str) -> None:
    asked = list(asked_for(expression))
    assert asked, expression
    for name, narrowed in asked:
        assert narrowed <= labels_of(name), f"{name} has no {narrowed - labels_of(name)}"
    for label in grouped_by(expression):
        assert any(label in labels_of(name) for name, _ in asked), f"{label} in {expression}"


@pytest.mark.parametrize(
    "expression",
    [
        "sum(invented_total)",
        'sum(job_runs_total{colour="red"})',
        "sum by (colour) (rate(job_runs_total[5m]))",
        "max(job_duration_seconds)",
        "workers_alive == 0 and invented > 1",
    ],
)
def test_what_is_not_there_would_be_found(expression: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check_that_all_is_there(expression)


def test_the_alerts_ask_for_what_there_is() -> None:
    expressions = rule_expressions()
    assert len(expressions) == RULES.read_text().count("- alert: ") > 8
    for expression in expressions:
        check_that_all_is_there(expression)


def test_every_alert_says_what_to_do_and_where_that_is_told() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    alerts = re.split(r"^ {6}- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]
    for alert in alerts:
        name = alert.split()[0]
        assert re.search(r"severity: (info|warning|error|critical)$", alert, re.MULTILINE), name
        assert re.search(r"^ {8}for: \d+m$", alert, re.MULTILINE), name
        told = set(re.findall(r"^ {10}(\w+):", alert, re.MULTILINE))
        assert {"summary", "action", "docs"} <= told, name
        anchor = re.search(r"docs: docs/operating\.md#([\w-]+)$", alert, re.MULTILINE)
        assert anchor is not None, name
        assert anchor[1] in headings, name


def test_promtool_finds_the_shipped_files_sound(tmp_path: Path) -> None:
    for file in PROMETHEUS.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "switchyard-token").write_text("swy_token")
    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    tests = tmp_path / "rules_test.yml"
    shutil.copy(Path(__file__).with_name(tests.name), tests)
    promtool("test", "rules", tests, cwd=tmp_path)
    tried = set(re.findall(r"alertname: (\w+)", tests.read_text()))
    assert tried == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_asks_for_what_there_is(file: Path, tmp_path: Path) -> None:
    expressions = dashboard_expressions(file)
    for expression in expressions:
        check_that_all_is_there(expression)
    # As Grafana fills it in; promtool reads the language.
    filled = [
        re.sub(r"\$\w+", ".*", item.replace("$__rate_interval", "5m")) for item in expressions
    ]
    rules = [{"record": f"panel:{at}", "expr": item} for at, item in enumerate(filled)]
    document = {"groups": [{"name": "dashboard", "rules": rules}]}
    # JSON is YAML.
    (tmp_path / "panels.yml").write_text(json.dumps(document))
    promtool("check", "rules", tmp_path / "panels.yml")


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_well_formed(file: Path) -> None:
    board = json.loads(file.read_text())
    assert board["uid"] == f"switchyard-{file.stem}"
    # Whoever imports it has no ids yet, and chooses the data source.
    assert "id" not in board
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 5
    names = {item["name"] for item in board["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"])))
    assert used <= names
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_there_is_a_dashboard_for_each_part() -> None:
    assert {file.stem for file in DASHBOARDS} == {"breakers", "flags", "http", "jobs"}


def test_variables_of_dashboards_ask_for_labels_that_there_are() -> None:
    for file in DASHBOARDS:
        for item in json.loads(file.read_text())["templating"]["list"][1:]:
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", item["definition"]).groups()  # type: ignore[union-attr]
            assert label in labels_of(name)


def test_promtool_finds_nothing_wrong_with_what_is_scraped(viewer: FlaskClient) -> None:
    viewer.get("/jobs")
    text = viewer.get("/metrics").text
    assert "job_runs_total" in text
    promtool("check", "metrics", stdin=text)

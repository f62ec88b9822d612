"""The flag pages, with and without htmx: what each role sees and does, refusals and conflicts."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from tests.statements import statements
from webapp.actors import COMMAND
from webapp.db import db, transaction
from webapp.flags.queries import get_flag
from webapp.flags.service import archive_flag, change_flag, create_flag
from webapp.flags.values import (
    Condition,
    FlagChanges,
    FlagDraft,
    Operator,
    Prerequisite,
    Rule,
)

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient

MOST_STATEMENTS = 12


@pytest.fixture(autouse=True)
def flag(app: Flask, now: datetime) -> None:
    """One flag, on for a quarter."""
    draft = FlagDraft(
        name="ui.beta",
        description="The <new> layout",
        enabled=True,
        percentage=25.0,
        whitelist=("vera",),
        tags=("ui",),
    )
    with app.app_context(), transaction() as session:
        create_flag(session, draft, by=COMMAND, now=now, reason="first")


def stored(app: Flask) -> dict[str, Any]:
    with app.app_context():
        flag = get_flag(db.session, "ui.beta")
        return {
            "percentage": flag.percentage,
            "enabled": flag.enabled,
            "version": flag.version,
            "whitelist": flag.whitelist,
            "archived": flag.archived_at is not None,
        }


def change_meanwhile(app: Flask, now: datetime, **changes: Any) -> None:
    with app.app_context(), transaction() as session:
        change_flag(
            session, "ui.beta", FlagChanges(**changes), by=COMMAND, now=now, reason="meanwhile"
        )


def test_a_viewer_sees_but_has_nothing_to_press(viewer: "ConsoleClient") -> None:
    listed, shown = viewer.get("/flags").text, viewer.get("/flags/ui.beta").text
    assert "ui.beta" in listed
    assert "The &lt;new&gt; layout" in shown
    for text in (listed, shown):
        assert "/switch" not in text
        assert "/rollout" not in text
        assert "/edit" not in text


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/flags/ui.beta/rollout", {"percentage": "1", "reason": "r"}),
        ("/flags/ui.beta/switch", {"enabled": "0", "reason": "r"}),
        ("/flags/ui.beta", {"reason": "r"}),
        ("/flags/ui.beta/archive", {"reason": "r"}),
        ("/flags", {"name": "x", "reason": "r"}),
    ],
)
def test_a_viewer_changes_nothing(
    app: Flask, viewer: "ConsoleClient", path: str, data: dict[str, str]
) -> None:
    before = stored(app)
    assert viewer.post(path, data=data).status_code == 403
    assert stored(app) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/flags/new"),
        ("POST", "/flags"),
        ("GET", "/flags/ui.beta/edit"),
        ("POST", "/flags/ui.beta"),
        ("POST", "/flags/ui.beta/archive"),
        ("POST", "/flags/ui.beta/restore"),
    ],
)
def test_an_operator_changes_rollout_and_switch_only(
    operator: "ConsoleClient", method: str, path: str
) -> None:
    assert operator.open(path, method=method, data={"reason": "r"}).status_code == 403


def test_the_list_is_filtered_by_its_url(viewer: "ConsoleClient") -> None:
    assert "ui.beta" in viewer.get("/flags?tag=ui&state=partial&q=LAYOUT").text
    assert "No flag matches" in viewer.get("/flags?tag=none").text
    assert "No flag matches" in viewer.get("/flags?q=nothing&sort=-percentage&skip=-3").text


def test_the_table_alone_comes_with_an_etag(viewer: "ConsoleClient") -> None:
    part = viewer.htmx("/flags?sort=-updated", "flags-table")
    assert part.text.lstrip().startswith('<section id="flags-table"')
    again = viewer.htmx(
        "/flags?sort=-updated", "flags-table", headers={"If-None-Match": part.headers["ETag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize("target", ["flags-status", "flags-history", "flags-playground"])
def test_each_part_of_the_page_comes_alone(viewer: "ConsoleClient", target: str) -> None:
    part = viewer.htmx("/flags/ui.beta", target).text
    assert part.lstrip().startswith(f'<section id="{target}"')
    assert "<html" not in part


def test_a_rollout_is_saved_with_its_reason(app: Flask, operator: "ConsoleClient") -> None:
    data = {"percentage": "12.34", "reason": "slowly", "version": "1"}
    answer = operator.post("/flags/ui.beta/rollout", data=data)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/flags/ui.beta")
    assert stored(app)["percentage"] == 12.34
    page = operator.get("/flags/ui.beta").text
    assert "slowly" in page
    assert re.search(r"changes__old.*25.*changes__new.*12\.34", page, re.DOTALL)


def test_the_history_tells_of_nested_values_what_differs(
    app: Flask, viewer: "ConsoleClient", now: datetime
) -> None:
    change_meanwhile(app, now, metadata={"owner": {"team": "shop", "floor": 3}})
    change_meanwhile(app, now, metadata={"owner": {"team": "shop", "floor": 4}})
    history = viewer.htmx("/flags/ui.beta", "flags-history").text
    latest = history.split('class="timeline__item"')[1]
    assert re.search(
        r"metadata\.<wbr>owner\.<wbr>floor<.*changes__old.*3.*changes__new.*4", latest, re.DOTALL
    )
    assert "shop" not in latest


def test_a_rollout_saved_by_htmx_can_be_saved_again(app: Flask, operator: "ConsoleClient") -> None:
    for version, percentage in (("1", "50"), ("2", "100")):
        answer = operator.htmx(
            "/flags/ui.beta/rollout",
            "flags-rollout",
            method="POST",
            data={"percentage": percentage, "reason": "on", "version": version},
        )
        assert answer.status_code == 200
        assert "toast" in answer.headers["HX-Trigger"]
        assert answer.text.lstrip().startswith('<section id="flags-rollout"')
        assert f'name="version" value="{int(version) + 1}"' in answer.text
    assert stored(app)["percentage"] == 100


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("percentage", "reason", "message"),
    [
        ("101", "r", "Must be from 0 to 100."),
        ("1.234", "r", "At most two decimals."),
        ("many", "r", "Must be a number"),
        ("30", " ", "Say why"),
    ],
)
def test_a_refused_rollout_keeps_what_was_typed(
    app: Flask, operator: "ConsoleClient", htmx: bool, percentage: str, reason: str, message: str
) -> None:
    data = {"percentage": percentage, "reason": reason, "version": "1"}
    url = "/flags/ui.beta/rollout"
    answer = (
        operator.htmx(url, "flags-rollout", method="POST", data=data)
        if htmx
        else operator.post(url, data=data)
    )
    assert answer.status_code == 422
    assert ("<html" in answer.text) is not htmx
    assert message in answer.text
    assert f'value="{percentage}"' in answer.text
    assert stored(app)["version"] == 1


@pytest.mark.parametrize("htmx", [False, True])
def test_a_conflict_shows_what_changed_and_keeps_what_was_typed(
    app: Flask, operator: "ConsoleClient", now: datetime, htmx: bool
) -> None:
    change_meanwhile(app, now, percentage=75.0)
    data = {"percentage": "33", "reason": "mine", "version": "1"}
    url = "/flags/ui.beta/rollout"
    answer = (
        operator.htmx(url, "flags-rollout", method="POST", data=data)
        if htmx
        else operator.post(url, data=data)
    )
    assert answer.status_code == (422 if htmx else 409)
    rollout = answer.text[answer.text.index('id="flags-rollout"') :]
    assert "Changed meanwhile" in rollout
    assert re.search(r"changes__old.*25.*changes__new.*75", rollout, re.DOTALL)
    assert 'value="33"' in rollout
    assert 'value="mine"' in rollout
    assert stored(app)["percentage"] == 75
    # Who has seen it may save over it.
    assert 'name="version" value="2"' in rollout
    operator.post(url, data=data | {"version": "2"})
    assert stored(app)["percentage"] == 33


def test_the_kill_switch_works_from_the_list(app: Flask, operator: "ConsoleClient") -> None:
    data = {"enabled": "0", "reason": "errors"}
    answer = operator.htmx("/flags/ui.beta/switch", "", method="POST", data=data)
    assert answer.status_code == 204
    assert "refresh-live" in answer.headers["HX-Trigger"]
    assert stored(app)["enabled"] is False
    assert (
        operator.post("/flags/ui.beta/switch", data={"enabled": "1", "reason": "ok"}).status_code
        == 303
    )
    assert stored(app)["enabled"] is True


def test_without_scripts_an_action_asks_on_a_page(app: Flask, admin: "ConsoleClient") -> None:
    asked = admin.post("/flags/ui.beta/archive")
    assert asked.status_code == 422
    assert "Archive ui.beta?" in asked.text
    assert "Say why" not in asked.text
    assert "Say why" in admin.post("/flags/ui.beta/archive", data={"reason": " "}).text
    admin.post("/flags/ui.beta/archive", data={"reason": "over"})
    assert stored(app)["archived"]
    assert "ui.beta" not in admin.get("/flags").text.partition("<main")[2].partition("toasts")[0]
    admin.post("/flags/ui.beta/restore", data={"reason": "back"})
    assert not stored(app)["archived"]


FORM = {
    "name": "search.fuzzy",
    "description": "Finds\r\nmore",
    "enabled": "1",
    "percentage": "5",
    "whitelist": "a\r\nb\r\n",
    "blacklist": "",
    "environments": "production, staging",
    "environment_overrides": "staging = on\r\ndemo = 12.5 %",
    "starts_at": "2026-11-22T09:30",
    "expires_at": "",
    "stickiness": "",
    "tags": "search ui",
    "metadata": '{"owner": "web"}',
    "reason": "wanted",
}


@pytest.mark.parametrize("htmx", [False, True])
def test_an_admin_makes_a_flag(app: Flask, admin: "ConsoleClient", htmx: bool) -> None:
    answer = (
        admin.htmx("/flags", "flags-form", method="POST", data=FORM)
        if htmx
        else admin.post("/flags", data=FORM)
    )
    assert answer.headers["HX-Redirect" if htmx else "Location"] == "/flags/search.fuzzy"
    with app.app_context():
        flag = get_flag(db.session, "search.fuzzy")
        assert flag.description == "Finds\nmore"
        assert (flag.whitelist, flag.environments) == (["a", "b"], ["production", "staging"])
        assert flag.environment_overrides == {"staging": True, "demo": 12.5}
        assert flag.starts_at is not None
        assert flag.starts_at.isoformat() == "2026-11-22T09:30:00+00:00"
    page = admin.get("/flags/search.fuzzy/edit").text
    assert "staging = on\ndemo = 12.5 %" in page
    assert 'value="2026-11-22T09:30"' in page


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Not A Name", "Lower-case words"),
        ("name", "ui.beta", "already"),
        ("environment_overrides", "staging", "Write &#39;staging = on&#39;"),
        ("environment_overrides", "staging = maybe", "on, off or a percentage"),
        ("environment_overrides", "a = on\na = off", "Given twice"),
        ("metadata", "[1]", "Must be a JSON object"),
        ("metadata", "{", "Is not JSON"),
        ("starts_at", "tomorrow", "Must be a date"),
        ("expires_at", "2026-11-22T09:30", "Must be later"),
        ("blacklist", "a", "On the whitelist too: a."),
    ],
)
def test_a_refused_form_says_so_at_the_field(
    admin: "ConsoleClient", field: str, value: str, message: str
) -> None:
    answer = admin.post("/flags", data=FORM | {field: value})
    assert answer.status_code in {409, 422}
    at_field = answer.text[answer.text.index(f'id="field-{field}-errors"') :][:600]
    assert message in at_field
    assert "search ui" in answer.text


def test_an_edit_that_was_overtaken_keeps_all_that_was_typed(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    change_meanwhile(app, now, percentage=75.0)
    change_meanwhile(app, now, tags=("ui", "beta"))
    typed = FORM | {"version": "1", "whitelist": "otto"}
    answer = admin.post("/flags/ui.beta", data=typed)
    assert answer.status_code == 409
    assert answer.text.count("meanwhile") >= 2
    assert "otto" in answer.text
    assert stored(app)["whitelist"] == ["vera"]
    over = {"version": "3", "began": "1", "over": "1", "keep-tags": "mine"}
    admin.post("/flags/ui.beta", data=typed | over)
    assert stored(app) == {
        "percentage": 75.0,
        "enabled": True,
        "version": 4,
        "whitelist": ["otto"],
        "archived": False,
    }


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("subject=vera", "whitelist"),
        ("subject=", "no_subject"),
        ("subject=u&environment=staging", "percentage"),
    ],
)
def test_a_flag_can_be_tried(viewer: "ConsoleClient", query: str, answer: str) -> None:
    for text in (
        viewer.get(f"/flags/ui.beta?{query}").text,
        viewer.htmx(f"/flags/ui.beta?{query}", "flags-playground").text,
    ):
        assert f"<code>{answer}</code>" in text


def test_a_flag_that_does_not_exist_is_not_found(viewer: "ConsoleClient") -> None:
    assert viewer.get("/flags/none").status_code == 404


def test_a_long_list_costs_no_more_statements(
    app: Flask, viewer: "ConsoleClient", now: datetime
) -> None:
    with app.app_context(), transaction() as session:
        for number in range(60):
            draft = FlagDraft(name=f"many.n{number}", whitelist=("a",))
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
    with statements(app) as seen:
        page = viewer.get("/flags").text
    assert 0 < len(seen) <= MOST_STATEMENTS
    assert "50 of 61 flags" in page
    assert "many.n9" in viewer.get("/flags?skip=50").text


def archive(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        archive_flag(session, "ui.beta", by=COMMAND, now=now, reason="over")


def test_an_archived_flag_can_be_removed_for_good(
    app: Flask, admin: "ConsoleClient", now: datetime
) -> None:
    assert "/purge" not in admin.get("/flags/ui.beta").text
    assert admin.post("/flags/ui.beta/purge", data={"reason": "r"}).status_code == 409
    archive(app, now)
    page = admin.get("/flags/ui.beta").text
    assert 'data-confirm="Remove ui.beta for good?"' in page
    assert 'data-confirm-reason="required"' in page
    asked = admin.post("/flags/ui.beta/purge")
    assert (asked.status_code, "Remove ui.beta for good?" in asked.text) == (422, True)
    done = admin.post("/flags/ui.beta/purge", data={"reason": "nobody asks"})
    assert (done.status_code, done.headers["Location"]) == (303, "/flags")
    assert admin.get("/flags/ui.beta").status_code == 404
    assert "nobody asks" in admin.get("/audit?action=flag.purged").text


def test_only_an_admin_removes_a_flag(app: Flask, operator: "ConsoleClient", now: datetime) -> None:
    archive(app, now)
    assert "/purge" not in operator.get("/flags/ui.beta").text
    assert operator.post("/flags/ui.beta/purge", data={"reason": "r"}).status_code == 403


def test_trying_a_flag_shows_the_steps_and_which_one_decides(viewer: "ConsoleClient") -> None:
    assert "Steps of the decision" not in viewer.get("/flags/ui.beta").text
    part = viewer.htmx("/flags/ui.beta?subject=vera", "flags-playground").text
    assert part.count("Decides") == 1
    deciding = part[part.index("Always on for") : part.index("Rollout")]
    assert "Decides" in deciding
    assert "vera is among the 1" in deciding
    assert part.count("not asked") == 1
    assert "is in bucket" in part


def test_the_steps_of_an_archived_flag_end_at_the_first(
    app: Flask, viewer: "ConsoleClient", now: datetime
) -> None:
    archive(app, now)
    part = viewer.htmx("/flags/ui.beta?subject=", "flags-playground").text
    assert part.index("archived") < part.index("Decides") < part.index("Switch")
    assert part.count("not asked") == 8


def test_the_list_offers_an_export(viewer: "ConsoleClient") -> None:
    assert 'href="/api/v1/feature-flags/export"' in viewer.get("/flags").text
    assert viewer.get("/api/v1/feature-flags/export").get_json()["flags"][0]["name"] == "ui.beta"


def test_the_page_has_code_for_every_way_to_ask_and_says_what_unleash_leaves_off(
    app: Flask, viewer: "ConsoleClient", now: datetime
) -> None:
    shown = viewer.get("/flags/ui.beta").text
    for way in ("python", "curl", "openfeature", "unleash"):
        assert f'id="code-{way}"' in shown
    assert "An Unleash SDK decides this flag alike." in shown
    change_meanwhile(app, now, percentage=12.5)
    mail = Condition(attribute="mail", operator=Operator.MATCHES, values=("^a",))
    change_meanwhile(app, now, rules=(Rule(name="press", percentage=80.0, conditions=(mail,)),))
    with app.app_context(), transaction() as session:
        for name, needed in (("needs", "ui.beta"), ("twice", "needs")):
            draft = FlagDraft(
                name=name,
                enabled=True,
                percentage=100.0,
                prerequisites=(Prerequisite(flag=needed),),
            )
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
    told = viewer.get("/flags/ui.beta").text
    assert "An Unleash SDK leaves off what it cannot decide alike." in told
    assert "<p>12.5 % counts as 12 %.</p>" in told
    assert "<p>The rule press is left out (mail matches).</p>" in told
    app.extensions["flag_store"].refresh()
    assert "<p>Off where ui.beta is left off.</p>" in viewer.get("/flags/needs").text
    twice = viewer.get("/flags/twice").text
    assert "<p>Off for everybody: needs has prerequisites of its own.</p>" in twice

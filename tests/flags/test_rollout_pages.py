"""Plans and guards on the pages: what each role sees and does, the form's rows, the overview."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from tests.odd_texts import ODD_TEXTS, Fields, form_body
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import db, reading, transaction
from webapp.flags.guarding import check
from webapp.flags.measuring import measure
from webapp.flags.queries import get_flag
from webapp.flags.recording import add_errors
from webapp.flags.service import change_flag, create_flag, draft_of, switch_flag
from webapp.flags.values import (
    FlagChanges,
    FlagDraft,
    GuardMetric,
    PlanStep,
    RolloutGuard,
)

if TYPE_CHECKING:
    from tests.conftest import ConsoleClient

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

URL = "/flags/ui.beta"
VERBS = ("pause", "resume", "skip", "roll-back")
ERRORS = RolloutGuard(name="errors", metric=GuardMetric.ERRORS, threshold=100, window=600)


@pytest.fixture
def start() -> datetime:
    """Now, in whole minutes: pages have the program's own clock."""
    return clock_now().replace(second=0, microsecond=0)


@pytest.fixture(autouse=True)
def flag(app: Flask, start: datetime) -> None:
    """One flag at the second of four steps, with a guard."""
    plan = tuple(
        PlanStep(at=start + timedelta(days=days), percentage=share)
        for days, share in ((-4, 5.0), (-1, 25.0), (3, 50.0), (10, 100.0))
    )
    draft = FlagDraft(
        name="ui.beta", enabled=True, percentage=25, rollout_plan=plan, guards=(ERRORS,)
    )
    with app.app_context(), transaction() as session:
        create_flag(session, draft, by=COMMAND, now=start, reason="first")


def stored(app: Flask) -> tuple[float, str]:
    with app.app_context(), reading() as session:
        flag = get_flag(session, "ui.beta")
        return float(flag.percentage), flag.rollout_state


def trip(app: Flask, start: datetime) -> None:
    """Have the guard see a hundred errors too many."""
    with app.app_context(), transaction() as session:
        at = start + timedelta(minutes=1)
        add_errors(session, "ui.beta", 101, now=start)
        done = check(session, measure(session, now=at), now=at, alpha=0.002)
        assert done is not None
        assert len(done.trips) == 1


def test_a_viewer_sees_the_plan_and_has_nothing_to_press(viewer: "ConsoleClient") -> None:
    page = viewer.get(URL).text
    plan = page.partition('id="flags-plan"')[2].partition("</section>")[0]
    assert "step 2 of 4" in plan
    assert plan.index("Taken") < plan.index("Present") < plan.index("Next")
    assert "Rolls back when over 100 errors are reported in 10 min." in page
    assert "plan-pause" not in page
    assert {viewer.post(f"{URL}/rollout/{verb}").status_code for verb in VERBS} == {403}


def test_an_operator_is_offered_what_fits_the_state(operator: "ConsoleClient") -> None:
    running = operator.get(URL).text
    assert all(f'id="plan-{verb}"' in running for verb in ("pause", "skip", "roll-back"))
    assert "Skip to 50 %" in running
    assert "Roll back to 5 %" in running
    operator.post(f"{URL}/rollout/pause", data={"reason": "Look"})
    paused = operator.get(URL).text
    assert 'id="plan-resume"' in paused
    assert 'id="plan-pause"' not in paused
    assert "waits until the plan is resumed" in paused
    assert "The next step, 50 %, comes in 2 d" in paused


@pytest.mark.parametrize("htmx", [False, True])
def test_each_thing_is_done_with_a_reason(
    app: Flask, operator: "ConsoleClient", htmx: bool
) -> None:
    told = []
    for verb in ("pause", "resume", "skip", "roll-back", "resume"):
        url, data = f"{URL}/rollout/{verb}", {"reason": "Because"}
        answer = (
            operator.htmx(url, method="POST", data=data) if htmx else operator.post(url, data=data)
        )
        assert answer.status_code == (204 if htmx else 303)
        told.append(stored(app))
    assert told == [
        (25, "paused"),
        (25, "running"),
        (50, "running"),
        (25, "rolled_back"),
        (25, "running"),
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_without_scripts_each_is_asked_once_in_words_that_name_the_flag(
    app: Flask, operator: "ConsoleClient", verb: str
) -> None:
    if verb == "resume":
        operator.post(f"{URL}/rollout/pause", data={"reason": "Look"})
    before = stored(app)
    answer = operator.post(f"{URL}/rollout/{verb}")
    assert answer.status_code == 422
    assert "ui.beta" in answer.text.partition("<main")[2]
    assert 'name="reason"' in answer.text
    assert stored(app) == before


def test_what_no_longer_fits_is_told_and_changes_nothing(
    app: Flask, operator: "ConsoleClient"
) -> None:
    answer = operator.post(f"{URL}/rollout/resume", data={"reason": "r"})
    assert answer.status_code == 409
    assert "nothing to resume" in answer.text
    with app.app_context(), transaction() as session:
        switch_flag(session, "ui.beta", enabled=False, by=COMMAND, now=clock_now(), reason="r")
    answer = operator.post(f"{URL}/rollout/resume", data={"reason": "r"})
    assert "switch it on first" in answer.text
    assert stored(app) == (25, "paused")


def test_the_slider_says_that_it_pauses_the_plan_and_does(
    app: Flask, operator: "ConsoleClient"
) -> None:
    page = operator.get(URL).text
    assert "A share that is chosen here pauses it." in page
    operator.post(f"{URL}/rollout", data={"percentage": "40", "reason": "Faster", "version": "1"})
    assert stored(app) == (40, "paused")


def test_a_trip_is_told_on_the_page_and_the_overview_with_its_evidence(
    app: Flask, viewer: "ConsoleClient", start: datetime
) -> None:
    assert "1 under way" in viewer.get("/").text
    trip(app, start)
    page, overview = viewer.get(URL).text, viewer.get("/").text
    evidence = "101 errors reported in 10 min, 100 allowed"
    assert f'from 25 % to 5 %: <span class="facts__fact">{evidence}.' in page
    assert "by guard: errors: " + evidence in page
    assert evidence in overview
    assert "Rolled back" in overview


def test_live_parts_come_alone(viewer: "ConsoleClient") -> None:
    for part in ("flags-plan", "flags-guards"):
        answer = viewer.htmx(URL, part)
        assert answer.text.lstrip().startswith(f'<section id="{part}"')
        again = viewer.htmx(URL, part, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304


def test_a_flag_without_plan_and_guards_says_so(
    app: Flask, viewer: "ConsoleClient", start: datetime
) -> None:
    with app.app_context(), transaction() as session:
        create_flag(session, FlagDraft(name="bare"), by=COMMAND, now=start, reason="r")
    page = viewer.get("/flags/bare").text
    assert "None: the share of subjects moves by hand." in page
    assert "checked once a minute" not in page


def fields(admin: "ConsoleClient", **changed: str) -> dict[str, str]:
    """Return what the form of the flag would send, with some of it changed."""
    del admin
    sent = {
        "version": "1",
        "reason": "Because",
        "rollout_plan-0-at": "2026-11-22T09:00",
        "rollout_plan-0-percentage": "5",
        "rollout_plan-1-at": "2026-11-25T09:00:30",
        "rollout_plan-1-percentage": "60 %",
        "guards-0-name": "payments",
        "guards-0-metric": "job_failure_rate",
        "guards-0-scope": "etl",
        "guards-0-threshold": "20 %",
        "guards-0-window": "2 h",
        "guards-0-min_sample": "15",
        "guards-0-action": "halt",
        "guards-1-name": "billing",
        "guards-1-metric": "breaker_open",
        "guards-1-scope": "billing",
        # Hidden, and read by nobody.
        "guards-1-threshold": "many",
        "guards-1-action": "roll_back",
    }
    return sent | changed


def save(admin: "ConsoleClient", sent: dict[str, str]) -> Any:
    review = admin.post(URL, data=sent)
    assert review.status_code == 200, review.text
    mark = review.text.partition('name="reviewed" value="')[2].partition('"')[0]
    return review, admin.post(URL, data=sent | {"reviewed": mark})


def test_rows_of_steps_and_guards_are_reviewed_and_saved(
    app: Flask, admin: "ConsoleClient"
) -> None:
    review, answer = save(admin, fields(admin))
    assert "5 % from 2026-11-22 09:00 UTC, 60 % from 2026-11-25 09:00:30 UTC" in review.text
    assert "halts when over 20 % of etl fail in 2 h, of 15 attempts or more" in review.text
    assert answer.status_code == 303
    with app.app_context():
        draft = draft_of(get_flag(db.session, "ui.beta"))
    assert [step.percentage for step in draft.rollout_plan] == [5, 60]
    payments, billing = draft.guards
    assert (payments.threshold, payments.window, payments.min_sample) == (20, 7200, 15)
    assert (billing.scope, billing.threshold, billing.window) == ("billing", None, None)
    # What is in the form is what is stored: to save it anew changes nothing.
    page = admin.get(f"{URL}/edit").text
    assert 'value="2026-11-25T09:00:30"' in page
    assert 'value="120 min"' in page


@pytest.mark.parametrize(
    ("field", "typed", "place"),
    [
        ("rollout_plan-1-at", "", "rollout_plan-1-at"),
        ("rollout_plan-1-at", "soon", "rollout_plan-1-at"),
        ("rollout_plan-1-percentage", "much", "rollout_plan-1-percentage"),
        ("rollout_plan-1-percentage", "5", "rollout_plan"),
        ("guards-0-threshold", "", "guards-0-threshold"),
        ("guards-0-window", "a while", "guards-0-window"),
        ("guards-0-window", "1 s", "guards"),
        ("guards-0-min_sample", "1.5", "guards-0-min_sample"),
        ("guards-0-metric", "mood", "guards-0-metric"),
        ("guards-0-action", "pray", "guards-0-action"),
        ("guards-0-scope", "", "guards"),
        ("guards-1-name", "payments", "guards"),
    ],
)
def test_a_refused_row_says_why_at_its_place_and_keeps_what_was_typed(
    app: Flask, admin: "ConsoleClient", field: str, typed: str, place: str
) -> None:
    answer = admin.post(URL, data=fields(admin, **{field: typed}))
    assert answer.status_code == 422
    assert f'id="field-{place}-errors"' in answer.text
    if typed and not field.endswith(("metric", "action")):
        assert f'value="{typed}"' in answer.text
    assert 'value="many"' in answer.text
    with app.app_context():
        assert get_flag(db.session, "ui.beta").version == 1


@pytest.mark.parametrize(("path", "rows"), [("rollout_plan", 3), ("guards", 3)])
def test_rows_come_and_go_and_nothing_is_saved(
    app: Flask, admin: "ConsoleClient", path: str, rows: int
) -> None:
    field = "percentage" if path == "rollout_plan" else "name"
    more = admin.post(URL, data=fields(admin, add=path)).text
    assert more.count(f'name="{path}-{rows - 1}-{field}"') == 1
    less = admin.post(URL, data=fields(admin, remove=f"{path}-0")).text
    assert f'name="{path}-1-{field}"' not in less
    with app.app_context():
        assert get_flag(db.session, "ui.beta").version == 1


def test_steps_may_be_typed_in_any_order(app: Flask, admin: "ConsoleClient") -> None:
    save(
        admin,
        fields(
            admin,
            **{"rollout_plan-1-at": "2026-11-20T09:00", "rollout_plan-1-percentage": "1"},
        ),
    )
    with app.app_context():
        plan = draft_of(get_flag(db.session, "ui.beta")).rollout_plan
    assert [step.percentage for step in plan] == [1, 5]


def test_two_who_changed_the_plan_settle_it_side_by_side(
    app: Flask, admin: "ConsoleClient", start: datetime
) -> None:
    theirs = (PlanStep(at=start + timedelta(days=9), percentage=90),)
    with app.app_context(), transaction() as session:
        changed = FlagChanges(rollout_plan=theirs, guards=())
        change_flag(session, "ui.beta", changed, by=COMMAND, now=start, reason="meanwhile")
    answer = admin.post(URL, data=fields(admin))
    assert answer.status_code == 409
    assert "90 % from" in answer.text
    assert "60 % from 2026-11-25" in answer.text
    sent = fields(
        admin,
        version="2",
        began="1",
        over="1",
        **{"keep-rollout_plan": "theirs", "keep-guards": "mine"},
    )
    assert admin.post(URL, data=sent).status_code == 303
    with app.app_context():
        draft = draft_of(get_flag(db.session, "ui.beta"))
    assert draft.rollout_plan == theirs
    assert [guard.name for guard in draft.guards] == ["payments", "billing"]


def test_the_audit_and_the_history_tell_steps_and_guards_in_words(
    app: Flask, admin: "ConsoleClient", start: datetime
) -> None:
    save(admin, fields(admin))
    page = admin.get(URL).text
    assert "guard payments" in page
    assert "60 % from 2026-11-25 09:00:30 UTC" in page
    assert admin.get("/audit").status_code == 200


ROWS = (
    *("rollout_plan-0-at", "rollout_plan-0-percentage", "guards-0-name", "guards-0-metric"),
    *("guards-0-scope", "guards-0-threshold", "guards-0-window", "guards-0-min_sample"),
    *("guards-0-action", "keep-guards", "keep-rollout_plan"),
)


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_row_answers_whatever_a_field_holds(admin: "ConsoleClient", odd: bytes) -> None:
    for field in ROWS:
        sent: Fields = {**fields(admin), "reviewed": "x", field: odd}
        assert admin.post(URL, **form_body(sent)).status_code < 500, field
    for verb in VERBS:
        assert admin.post(f"{URL}/rollout/{verb}", **form_body({"reason": odd})).status_code < 500
    assert admin.get(URL).status_code == 200
    assert admin.get(f"{URL}/edit").status_code == 200


def test_the_list_says_how_a_rollout_stands_and_filters_by_it(
    app: Flask, operator: "ConsoleClient", start: datetime
) -> None:
    def listed(state: str) -> str:
        page: str = operator.get(f"/flags?rollout={state}").text
        return page.partition('id="flags-table"')[2].partition("</section>")[0]

    with app.app_context(), transaction() as session:
        create_flag(session, FlagDraft(name="by.hand"), by=COMMAND, now=start, reason="r")
    running = listed("running")
    assert "Running" in running
    assert "then 50 % <time" in running
    assert "by.hand" not in running
    operator.post(f"{URL}/rollout/pause", data={"reason": "Look"})
    assert "then 50 % once it is resumed" in listed("paused")
    operator.post(f"{URL}/rollout/roll-back", data={"reason": "It breaks"})
    assert "ui.beta" not in listed("paused")
    assert "then 25 % once it is resumed" in listed("rolled_back")
    assert "Rolled back" in listed("")
    with app.app_context(), transaction() as session:
        plan: FlagChanges = FlagChanges(rollout_plan=())
        change_flag(session, "ui.beta", plan, by=COMMAND, now=start, reason="by hand")
        stands = get_flag(session, "ui.beta").rollout_state
    assert ("ui.beta" in listed(stands)) is True
    assert ">Running<" not in listed("")


def test_programs_filter_by_it_too(operator: "ConsoleClient") -> None:
    url = "/api/v1/feature-flags?rollout="
    assert operator.get(f"{url}running").get_json()["total"] == 1
    assert operator.get(f"{url}paused").get_json()["total"] == 0
    assert operator.get(f"{url}odd").status_code == 422

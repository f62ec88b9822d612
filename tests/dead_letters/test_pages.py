"""The pages of dead letters: by cause, the list, one letter, and what is asked before a bulk."""

import csv
import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.architecture.markup import elements_of
from tests.architecture.test_statements import MOST
from tests.conftest import ConsoleClient
from tests.dead_letters.conftest import MakeLetters
from tests.statements import statements
from webapp.audit.service import history
from webapp.breakers.models import CircuitBreakerState
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters import filters, groups, service
from webapp.dead_letters.models import DeadLetter
from webapp.jobs.models import Job
from webapp.jobs.service import find_job
from webapp.jobs.values import JobState

Write = Callable[..., int]


@pytest.fixture
def write(lose: MakeLetters) -> Write:
    """Write the letter of one dead job, and return the letter's id."""
    return lambda message="row 7 is broken": lose(message=message)[0]


def all_letters(app: Flask) -> list[DeadLetter]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(DeadLetter).order_by(DeadLetter.id)))


def states(app: Flask) -> list[str]:
    with app.app_context(), reading() as session:
        return [find_job(session, letter.job_id).state for letter in all_letters(app)]


def fields(page: str, action: str) -> dict[str, list[str]]:
    """Return what the form with this address would send, as it stands in the page."""
    form = re.search(rf'<form[^>]*action="{action}".*?</form>', page, re.DOTALL)
    assert form, f"there is no form that goes to {action}"
    sent: dict[str, list[str]] = {}
    for element in elements_of(form[0]):
        if element.tag == "input" and element.get("name") != "csrf_token":
            sent.setdefault(element.get("name"), []).append(element.get("value"))
    return sent


def link(page: str, words: str) -> str:
    """Return where the link with these words leads."""
    found = re.search(
        rf'<a[^>]*href="([^"]*)"[^>]*>(?:(?!</a>).)*?{re.escape(words)}', page, re.DOTALL
    )
    assert found, f"there is no link {words!r}"
    return html.unescape(found[1])


def test_the_list_shows_open_letters_and_the_menu_counts_them(
    viewer: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    page = viewer.get("/dead-letters/list").text
    assert f'id="letter-{letter_id}"' in page
    assert "row 7 is broken" in page
    assert 'class="count count--danger">1<' in page


def test_letters_of_one_trouble_are_found_together(viewer: ConsoleClient, write: Write) -> None:
    one, same, other = write("row 7 is broken"), write("row 8 is broken"), write("no disk")
    page = viewer.get(f"/dead-letters/{one}").text
    link = page.split("fingerprint=")[1].split('"')[0].split("&")[0]
    listed = viewer.get(f"/dead-letters/list?fingerprint={link}").text
    assert f'id="letter-{one}"' in listed
    assert f'id="letter-{same}"' in listed
    assert f'id="letter-{other}"' not in listed


def test_a_retry_queues_the_job_and_keeps_the_letter_open(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    assert operator.post(f"/dead-letters/{letter_id}/retry").status_code == 303
    with app.app_context(), transaction() as session:
        letter = service.find_letter(session, letter_id)
        assert letter.resolved_at is None
        assert find_job(session, letter.job_id).state == JobState.QUEUED


def test_a_second_retry_is_refused_while_the_first_is_under_way(
    operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    operator.post(f"/dead-letters/{letter_id}/retry")
    answer = operator.htmx(f"/dead-letters/{letter_id}/retry", method="POST")
    assert answer.status_code == 409


def test_resolving_needs_notes_and_keeps_them_in_the_audit(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    refused = operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "  "})
    assert refused.status_code == 422
    assert "Say why this needs no retry" in refused.text
    done = operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "A test row."})
    assert done.status_code == 303
    with app.app_context(), transaction() as session:
        (entry,) = history(session, "dead_letter", str(letter_id))
    assert (entry.actor, entry.reason) == ("operator", "A test row.")
    assert f'id="letter-{letter_id}"' not in operator.get("/dead-letters/list").text
    assert f'id="letter-{letter_id}"' in operator.get("/dead-letters/list?status=resolved").text


def test_notes_have_at_most_500_characters(operator: ConsoleClient, write: Write) -> None:
    url = f"/dead-letters/{write()}/resolve"
    refused = operator.post(url, data={"notes": "n" * 501})
    assert refused.status_code == 422
    assert "Use at most 500 characters, not 501." in refused.text
    assert operator.post(url, data={"notes": "n" * 500}).status_code == 303


def test_a_resolved_letter_is_not_resolved_again(operator: ConsoleClient, write: Write) -> None:
    letter_id = write()
    operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "Once."})
    again = operator.post(f"/dead-letters/{letter_id}/resolve", data={"notes": "Twice."})
    assert again.status_code == 409
    assert "resolved by operator" in again.text


def test_a_viewer_changes_nothing(viewer: ConsoleClient, write: Write) -> None:
    letter_id = write()
    for action in ("retry", "resolve", "discard"):
        assert viewer.post(f"/dead-letters/{letter_id}/{action}").status_code == 403


def test_causes_are_told_with_count_age_and_a_sample(
    viewer: ConsoleClient, lose: MakeLetters
) -> None:
    lose(2, at=now() - timedelta(hours=2), message="row 1 is broken")
    newest = lose(message="row 2 is broken")[0]
    lose(message="no disk", exception="OSError")
    page = viewer.get("/dead-letters").text
    (row,) = re.findall(r'<tr id="letters-(?:(?!</tr>).)*ValueError.*?</tr>', page, re.DOTALL)
    cells = {
        cell[0]: re.sub(r"<[^>]*>", "", cell[1]).strip()
        for cell in re.findall(r'<td[^>]*data-label="([^"]*)"[^>]*>(.*?)</td>', row, re.DOTALL)
    }
    assert (cells["Open"], cells["1 h"], cells["3 h"], cells["24 h"]) == ("3", "1", "2", "")
    assert cells["Retryable"] == "0 %"
    assert f'href="/dead-letters/{newest}"' in row
    assert "row 2 is broken" in row
    listed = viewer.get(link(row, "ValueError in test_echo")).text
    assert listed.count('<tr id="letter-') == 3


def test_causes_are_narrowed_and_sorted_by_the_address(
    viewer: ConsoleClient, lose: MakeLetters
) -> None:
    lose(2, at=now() - timedelta(days=2), exception="KeyError")
    lose(exception="OSError")
    order = re.findall(r"(\w+Error) in", viewer.get("/dead-letters").text)
    assert order == ["KeyError", "OSError"]
    order = re.findall(r"(\w+Error) in", viewer.get("/dead-letters?sort=-last").text)
    assert order == ["OSError", "KeyError"]
    assert "OSError in" not in viewer.get("/dead-letters?older=24h").text
    assert "KeyError in" not in viewer.get("/dead-letters?exception=OSError").text
    assert "No letter matches" in viewer.get("/dead-letters?type=test_fail").text


def test_the_page_says_where_not_all_letters_are_grouped(
    viewer: ConsoleClient, lose: MakeLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(2)
    lose(2, exception="OSError")
    monkeypatch.setattr(filters, "COUNT_CAP", 4)
    monkeypatch.setattr(groups, "COUNT_CAP", 4)
    assert "are grouped" not in viewer.get("/dead-letters").text
    monkeypatch.setattr(filters, "COUNT_CAP", 2)
    monkeypatch.setattr(groups, "COUNT_CAP", 2)
    page = viewer.get("/dead-letters").text
    assert "There are older ones" in page
    # The newest three were looked at.
    assert re.findall(r'data-label="Open">(\d+)<', page) == ["2", "1"]
    assert "There are older ones" not in viewer.get("/dead-letters?exception=ValueError").text


def test_the_files_hold_what_the_list_holds(viewer: ConsoleClient, lose: MakeLetters) -> None:
    lose(message="no disk", arguments={"value": 2**80})
    lose()
    page = viewer.get("/dead-letters/list?q=disk&before=99999").text
    table = list(csv.DictReader(StringIO(viewer.get(link(page, "CSV")).get_data(as_text=True))))
    items = json.loads(viewer.get(link(page, "JSON")).text)
    assert [row["message"] for row in table] == [item["message"] for item in items] == ["no disk"]
    assert items[0]["arguments"]["value"] == json.loads(table[0]["arguments"])["value"] == 2**80


def asked(client: ConsoleClient, url: str, **typed: str) -> tuple[str, dict[str, Any]]:
    """Open the page that asks, and return it with what its form sends."""
    page = client.get(url).text
    return page, fields(page, "/dead-letters/bulk") | typed


def test_all_that_match_are_counted_before_they_are_retried(
    app: Flask, operator: ConsoleClient, lose: MakeLetters
) -> None:
    lose(3, exception="KeyError")
    lose(exception="OSError")
    listed = operator.get("/dead-letters/list?exception=KeyError&before=99999").text
    url = link(listed.split("All that match")[1], "Retry…")
    assert parse_qs(urlsplit(url).query) == {"exception": ["KeyError"], "action": ["retry"]}
    page, form = asked(operator, url)
    assert "<h1" in page
    assert "Retry 3 letters?" in page
    assert page.count("KeyError") >= 3
    assert "OSError" not in page.split("<main")[1]
    assert states(app) == ["dead"] * 4
    done = operator.post("/dead-letters/bulk", data=form, follow_redirects=True).text
    assert "3 letters are queued again." in done
    assert states(app) == ["queued"] * 3 + ["dead"]


def test_what_fails_after_it_was_counted_is_left_alone(
    app: Flask, operator: ConsoleClient, lose: MakeLetters
) -> None:
    lose()
    _, form = asked(operator, "/dead-letters/bulk?action=retry")
    lose()
    operator.post("/dead-letters/bulk", data=form)
    assert states(app) == ["queued", "dead"]


def test_ticked_letters_are_acted_on_and_no_others(
    app: Flask, operator: ConsoleClient, lose: MakeLetters
) -> None:
    lose(3)
    page = operator.get("/dead-letters/list").text
    boxes = [box for box in elements_of(page) if box.get("form") == "letters-ticked"]
    assert len(boxes) == 3
    chosen = "&".join(f"job={box.get('value')}" for box in boxes[:2])
    page, form = asked(
        operator, f"/dead-letters/bulk?of=ticked&action=discard&{chosen}", why="Test data"
    )
    assert "Discard 2 letters?" in page
    done = operator.post("/dead-letters/bulk", data=form, follow_redirects=True).text
    assert "2 letters are discarded." in done
    resolutions = [letter.resolution for letter in all_letters(app)]
    assert resolutions == [None, "discarded", "discarded"]


@pytest.mark.parametrize("query", ["", "&job=", "&job=x", "&job=-1", "&job=9999999999999999999"])
def test_nothing_ticked_is_not_everything(
    app: Flask, operator: ConsoleClient, lose: MakeLetters, query: str
) -> None:
    lose()
    answer = operator.get(f"/dead-letters/bulk?of=ticked&action=retry{query}")
    assert answer.status_code == 303
    form = {"of": "ticked", "action": "retry", "at": now().isoformat()}
    assert operator.post("/dead-letters/bulk", data=form).status_code == 422
    assert states(app) == ["dead"]


def test_a_pace_makes_it_a_job(app: Flask, operator: ConsoleClient, lose: MakeLetters) -> None:
    lose(2)
    _, form = asked(operator, "/dead-letters/bulk?action=retry", per_minute="30")
    answer = operator.post("/dead-letters/bulk", data=form)
    assert answer.location.startswith("/jobs/")
    assert "retries 2 letters." in operator.get(answer.location).text
    assert states(app) == ["dead", "dead"]


def test_breakers_are_offered_to_wait_for(
    app: Flask, operator: ConsoleClient, lose: MakeLetters
) -> None:
    lose()
    # Others may be known to this process from before.
    assert 'value="bank"' not in operator.get("/dead-letters/bulk?action=retry").text
    with app.app_context(), transaction() as session:
        session.add(
            CircuitBreakerState(
                name="bank",
                state="half_open",
                open_seconds=30.0,
                failures=5,
                failure_threshold=5,
                updated_at=now(),
                version=1,
            )
        )
    page, form = asked(operator, "/dead-letters/bulk?action=retry", breaker="bank")
    assert '<option value="bank" >bank (half open)</option>' in page
    assert operator.post("/dead-letters/bulk", data=form).location.startswith("/jobs/")


@pytest.mark.parametrize(
    ("action", "typed", "message"),
    [
        ("retry", {"per_minute": "soon"}, "A number of letters"),
        ("retry", {"per_minute": "0"}, "From 0.01 to 60,000."),
        ("retry", {"breaker": "nothing"}, "There is no circuit breaker"),
        ("resolve", {"why": "  "}, "Say why these need no retry"),
        ("discard", {"why": "n" * 501}, "Use at most 500 characters"),
    ],
)
def test_a_refused_bulk_keeps_what_was_typed(
    app: Flask,
    operator: ConsoleClient,
    lose: MakeLetters,
    action: str,
    typed: dict[str, str],
    message: str,
) -> None:
    lose(2, exception="KeyError")
    lose()
    url = f"/dead-letters/bulk?action={action}&exception=KeyError"
    with app.app_context(), transaction() as session:
        session.add(
            CircuitBreakerState(
                name="bank",
                state="open",
                open_seconds=30.0,
                failures=5,
                failure_threshold=5,
                updated_at=now(),
                version=1,
            )
        )
    _, form = asked(operator, url, **typed)
    answer = operator.post("/dead-letters/bulk", data=form)
    assert answer.status_code == 422
    assert message in answer.text
    assert " 2 letters" in answer.text
    (value,) = typed.values()
    assert value in answer.text or "breaker" in typed
    assert states(app) == ["dead"] * 3
    assert not [letter for letter in all_letters(app) if letter.resolved_at]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"at": "yesterday"}, "Is no time."),
        ({"older": "2h"}, "One of 1h, 3h"),
        ({"newer": "x"}, "One of 1h, 3h"),
        ({"action": "explode"}, "One of retry"),
    ],
)
def test_what_does_not_say_which_letters_are_meant_does_nothing(
    app: Flask,
    operator: ConsoleClient,
    lose: MakeLetters,
    sent: dict[str, str],
    message: str,
) -> None:
    lose()
    form = {"action": "retry", "at": now().isoformat()} | sent
    for answer in (
        operator.post("/dead-letters/bulk", data=form),
        operator.get("/dead-letters/bulk", query_string=form),
    ):
        assert answer.status_code == 422
        assert message in answer.text
    assert states(app) == ["dead"]


def test_a_bulk_whose_letters_are_gone_says_so(operator: ConsoleClient) -> None:
    assert "No letter is left" in operator.get("/dead-letters/bulk?action=resolve").text


def test_arguments_are_edited_and_the_job_runs_with_them(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    great = 10**40 + 1
    typed = f'{{"value": {great}}}'
    answer = operator.post(f"/dead-letters/{letter_id}/retry", data={"arguments": typed})
    assert answer.status_code == 303
    (letter,) = all_letters(app)
    with app.app_context(), reading() as session:
        job = find_job(session, letter.job_id)
    assert (job.state, job.arguments["value"]) == ("queued", great)
    assert str(great) in operator.get(f"/audit?subject=job&name={job.id}").text


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ('{"value": "many"}', "value: Input should be a valid integer"),
        ('{"value": 7', "Is not JSON"),
        ("[1]", "Must be a JSON object"),
        ('{"value": NaN}', "Is not JSON"),
        ('{"other": 7}', "other: Extra inputs"),
        ('{"value": "[masked]"}', "value holds [masked]"),
    ],
)
def test_refused_arguments_are_kept_as_they_were_typed(
    app: Flask, operator: ConsoleClient, write: Write, typed: str, message: str
) -> None:
    url = f"/dead-letters/{write()}/retry"
    answer = operator.post(url, data={"arguments": typed})
    assert answer.status_code == 422
    assert message in html.unescape(answer.text)
    area = answer.text.split('id="field-arguments"')[1].split(">", 1)[1].split("</textarea>")[0]
    assert html.unescape(area).strip() == typed
    assert 'aria-invalid="true"' in answer.text
    assert states(app) == ["dead"]


def test_a_retry_that_is_refused_for_another_reason_keeps_them_too(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    operator.post(f"/dead-letters/{letter_id}/retry")
    answer = operator.post(f"/dead-letters/{letter_id}/retry", data={"arguments": '{"value": 8}'})
    assert answer.status_code == 409
    assert "it is being tried again already" in answer.text
    assert html.escape('{"value": 8}', quote=True).replace("&quot;", "&#34;") in answer.text


def test_secrets_are_masked_and_stay_what_they_were(
    app: Flask, operator: ConsoleClient, lose: MakeLetters
) -> None:
    secret = "https://anna:hunter2@host/x"
    (letter_id,) = lose(type_name="etl", arguments={"source": secret})
    page = operator.get(f"/dead-letters/{letter_id}").text
    assert "hunter2" not in page
    area = page.split('id="field-arguments"')[1].split(">", 1)[1].split("</textarea>")[0]
    typed = html.unescape(area).replace("1000", "500")
    answer = operator.post(f"/dead-letters/{letter_id}/retry", data={"arguments": typed})
    assert answer.status_code == 303
    with app.app_context(), reading() as session:
        arguments = session.scalars(select(Job.arguments)).one()
    assert arguments == {"source": secret, "batch_size": 500}


def test_a_type_that_is_gone_says_so(app: Flask, operator: ConsoleClient, write: Write) -> None:
    letter_id = write()
    with app.app_context(), transaction() as session:
        session.execute(update(Job).values(type="gone"))
    answer = operator.htmx(f"/dead-letters/{letter_id}/retry", method="POST")
    assert (answer.status_code, "no job type" in answer.text) == (409, True)


def test_discarding_asks_for_its_reason_once(
    app: Flask, operator: ConsoleClient, write: Write
) -> None:
    letter_id = write()
    page = operator.get(f"/dead-letters/{letter_id}").text
    (button,) = [item for item in elements_of(page) if item.get("id") == "discard-letter"]
    assert button.get("data-confirm").startswith("Discard test_echo ")
    assert button.get("data-confirm-reason") == "required"
    without_script = operator.post(f"/dead-letters/{letter_id}/discard")
    assert without_script.status_code == 422
    assert "Discard test_echo " in without_script.text
    done = operator.post(f"/dead-letters/{letter_id}/discard", data={"reason": "Test data"})
    assert done.status_code == 303
    page = operator.get(f"/dead-letters/{letter_id}").text
    assert "Discarded" in page
    assert "Test data" in page
    assert states(app) == ["dead"]
    again = operator.post(f"/dead-letters/{letter_id}/discard", data={"reason": "Again"})
    assert again.status_code == 409
    assert "was discarded by operator" in again.text


def test_a_letter_shows_every_attempt(operator: ConsoleClient, write: Write) -> None:
    page = operator.get(f"/dead-letters/{write()}").text
    assert 'id="jobs-attempts"' in page
    assert "1 in all" in page


def test_pages_of_one_and_of_many_cost_few_statements(
    app: Flask, operator: ConsoleClient, lose: MakeLetters
) -> None:
    (letter_id,) = lose()
    lose(20)
    for url in (f"/dead-letters/{letter_id}", "/dead-letters/bulk?action=retry"):
        operator.get(url)
        with statements(app) as seen:
            assert operator.get(url).status_code == 200
        assert len(seen) <= MOST, "\n\n".join(seen)


def test_whoever_may_not_act_is_offered_nothing(viewer: ConsoleClient, lose: MakeLetters) -> None:
    lose()
    for url in ("/dead-letters", "/dead-letters/list"):
        page = viewer.get(url).text
        assert "Retry" not in page.replace("Retryable", "")
        assert 'type="checkbox"' not in page
    assert viewer.get("/dead-letters/bulk?action=retry").status_code == 403
    assert viewer.post("/dead-letters/bulk", data={"action": "retry"}).status_code == 403

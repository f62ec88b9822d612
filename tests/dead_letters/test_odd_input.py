"""Whatever somebody sends to the forms of dead letters: an answer."""

import pytest
from werkzeug.test import TestResponse

from tests.conftest import ConsoleClient
from tests.dead_letters.conftest import MakeLetters
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_all, ask_with_each, is_taken
from webapp.clock import now

URL = "/api/v1/dlq"
FILTERS = ("status", "type", "exception", "fingerprint", "q", "older", "newer")


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(
    operator: ConsoleClient, lose: MakeLetters, odd: bytes
) -> None:
    letter, closed, edited = lose(3)
    forms: list[tuple[str, Fields]] = [
        (f"/dead-letters/{closed}/resolve", {"notes": odd}),
        (f"/dead-letters/{letter}/discard", {"reason": odd}),
        (f"/dead-letters/{letter}/retry", {"notes": odd}),
        (f"/dead-letters/{edited}/retry", {"arguments": odd}),
        (f"/dead-letters/{edited}/retry", {"arguments": b'{"value": ' + odd + b"}"}),
    ]
    for url, fields in forms:
        is_taken(operator.send_form, url, fields)
    good: Fields = {"at": now().isoformat(), "why": "Seen to"}
    names = ("at", "of", "job", "why", "per_minute", "breaker", *FILTERS)

    def act(action: str, fields: Fields) -> TestResponse:
        chosen: Fields = {"action": action}
        return operator.send_form("/dead-letters/bulk", chosen | fields)

    actions = ("retry", "resolve", "discard")
    ask_with_each(act, actions, good, names, odd)
    is_taken(act, "any", good | {"action": odd})
    for action in actions:
        is_taken(act, action, good | {"of": "ticked", "job": odd})
    assert operator.get("/dead-letters/list?status=all").status_code == 200


# What each address reads of its own, and a filter; all of them read filters alike.
ADDRESSES = {
    "/dead-letters": ("q", "skip", "sort"),
    "/dead-letters/list": (*FILTERS, "before", "after"),
    "/dead-letters/export.csv": ("older",),
    "/dead-letters/export.json": ("q",),
    "/dead-letters/bulk": (*FILTERS, "action", "of", "job", "at"),
    "/api/v1/dlq": (*FILTERS, "resolved", "limit", "before"),
    "/api/v1/dlq/groups": ("newer", "limit", "skip"),
    "/api/v1/dlq/export": ("q", "format"),
}


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_address_is_answered(operator: ConsoleClient, lose: MakeLetters, odd: bytes) -> None:
    lose()
    for url, names in ADDRESSES.items():
        ask_with_all(operator.look_for, url, {"action": "retry"}, names, odd)


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_body_is_answered(operator: ConsoleClient, lose: MakeLetters, odd: bytes) -> None:
    lose(2)
    first, second = (item["job_id"] for item in operator.get(URL).get_json()["items"])
    bodies = (
        (f"retry/{first}", b'{"arguments": {"value": %s}}'),
        (f"retry/{first}", b'{"arguments": %s}'),
        (f"resolve/{second}", b'{"notes": "%s"}'),
        ("bulk", b'{"action": "retry", "filter": {"text": "%s"}, "dry_run": true}'),
        ("bulk", b'{"action": "retry", "job_ids": [%s], "dry_run": true}'),
        ("bulk", b'{"action": "retry", "filter": {}, "per_minute": %s}'),
        ("bulk", b'{"action": "retry", "filter": {}, "when_breaker_closes": "%s"}'),
        ("bulk", b'{"action": "%s", "filter": {}}'),
    )
    for place, body in bodies:
        data = body.replace(b"%s", odd)
        answer = operator.post(f"{URL}/{place}", data=data, content_type="application/json")
        assert answer.status_code < 500, (place, body)

"""Whatever somebody sends to the forms of dead letters: an answer."""

import pytest

from tests.conftest import ConsoleClient
from tests.dead_letters import test_pages
from tests.odd_texts import ODD_TEXTS, form_body

write = test_pages.write


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(
    operator: ConsoleClient, write: test_pages.Write, odd: bytes
) -> None:
    for action in ("resolve", "retry"):
        url = f"/dead-letters/{write()}/{action}"
        assert operator.post(url, **form_body({"notes": odd})).status_code < 500
    assert operator.get("/dead-letters/list?status=all").status_code == 200

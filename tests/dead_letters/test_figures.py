"""Letters by type and status, as gauges tell of them."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from tests.dead_letters.conftest import make_letters
from webapp.actors import SYSTEM
from webapp.dead_letters import figures, service
from webapp.dead_letters.figures import LettersOfType, letters_by_type
from webapp.dead_letters.values import Status


def test_letters_are_counted_by_type_and_status_with_the_oldest(
    session: Session, now: datetime
) -> None:
    assert letters_by_type(session) == []
    make_letters(session, 2, at=now - timedelta(hours=1))
    make_letters(session, at=now, type_name="test_nothing")
    (closed,) = make_letters(session, at=now)
    service.resolve(session, closed, by=SYSTEM, now=now, notes="Done by hand")
    assert sorted(letters_by_type(session), key=lambda item: (item.type, item.status)) == [
        LettersOfType("test_echo", Status.OPEN, 2, now - timedelta(hours=1)),
        LettersOfType("test_echo", Status.RESOLVED, 1, now),
        LettersOfType("test_nothing", Status.OPEN, 1, now),
    ]


def test_the_first_of_a_status_are_looked_at(
    session: Session, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "COUNT_CAP", 2)
    make_letters(session, at=now - timedelta(days=9))
    make_letters(session, 5, at=now)
    assert letters_by_type(session) == [
        LettersOfType("test_echo", Status.OPEN, 3, now - timedelta(days=9))
    ]

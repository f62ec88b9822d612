"""Names are asked for by threads; one that cannot be started leaves nobody waiting."""

import threading

import pytest

from webapp.outbound.resolution import resolve


def test_after_a_thread_that_could_not_be_started_a_name_is_asked_for_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        del thread
        message = "can't start new thread"
        raise RuntimeError(message)

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            resolve("localhost", 80, seconds=10)
    assert resolve("localhost", 80, seconds=10)

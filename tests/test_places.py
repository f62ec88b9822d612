"""Which processes can be seen from here."""

import os
import subprocess
import sys

from webapp.places import process_exists, this_place


def test_a_process_exists_until_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_exists(child.pid)
    child.communicate(b"\n")
    assert not process_exists(child.pid)


def test_a_process_of_somebody_else_exists_too() -> None:
    assert process_exists(1)


def test_the_processes_of_one_system_share_their_place() -> None:
    words = [sys.executable, "-c", "from webapp.places import this_place; print(this_place())"]
    seen = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
    assert seen.stdout.splitlines()[-1] == this_place()

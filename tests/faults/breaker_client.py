"""One process of several that call a server through one breaker, as often as they may.

Started by ``test_breakers.py`` as a program of its own; it goes on until it is killed.  It says
once when it is ready and once when a call is refused, so that a test can wait for it.
"""

import os
import sys
import time

import httpx

from webapp.breakers.circuit import OpenCircuitError
from webapp.breakers.registry import BreakerRegistry, breaker, use_registry
from webapp.breakers.values import Thresholds
from webapp.settings import Settings

NAME = "remote"
THRESHOLDS = Thresholds(
    failures=3, successes=2, open_seconds=1.5, failure_rate=None, trial_seconds=10
)
PAUSE = 0.02


def main(url: str) -> None:
    """Call, and call again."""
    settings = Settings.from_environment()
    registry = BreakerRegistry(settings.database_url, settings.redis_url)
    use_registry(registry)
    circuit = breaker(NAME, THRESHOLDS)
    # The first look may take longer than a call waits for it on a busy machine.
    while not (registry._sharing and registry._sharing.reachable):
        time.sleep(PAUSE)
    say("ready")
    refused = False
    with httpx.Client(timeout=10, headers={"X-Process": str(os.getpid())}) as client:
        while True:
            try:
                circuit.call(lambda: client.get(url).raise_for_status())
            except OpenCircuitError:
                if not refused:
                    say("refused")
                refused = True
            except httpx.HTTPError:
                pass
            time.sleep(PAUSE)


def say(word: str) -> None:
    """Write a line that the test waits for."""
    sys.stdout.write(f"client {os.getpid()} {word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])

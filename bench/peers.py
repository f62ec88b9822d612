"""How fast the SDKs of others decide the same flag, each in a process of its own.

``python bench/peers.py NAME`` measures one SDK and prints it as JSON.  Without a name all of them
are measured one after another, with this interpreter or with those given by ``--peers PYTHON``,
because what they depend on need not be what this project depends on.  requirements-peers.txt says
which versions.  An SDK that is not there is listed as not installed.
"""

import json
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Final

from loopback import stay
from question import Decide, subjects

# The name on the package index, and the module in sdks/ that knows it.
PEERS: Final = {
    "statsig-python-core": "statsig",
    "growthbook": "growthbook",
    "flipt-client": "flipt",
    "launchdarkly-server-sdk": "launchdarkly",
    "UnleashClient": "unleash",
    "posthog": "posthog",
    "flagsmith": "flagsmith",
    "openfeature-provider-flagd": "flagd",
}
ROUNDS: Final = 5
ROUND_SECONDS: Final = 2.5
LONGEST_SECONDS: Final = 60
NOT_INSTALLED: Final = "not installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What one SDK came to; without a version nothing was measured, and ``differs`` says why.

    ``rate`` is decisions a second.  It was on for ``on`` of the first ``of`` subjects.
    """

    name: str
    version: str | None = None
    rate: float = 0.0
    on: int = 0
    of: int = 0
    differs: str = ""


def measure_all(pythons: Sequence[Path]) -> Iterator[Peer]:
    """Measure every SDK, each with the first interpreter that has it."""
    for name in PEERS:
        peer = Peer(name=name, differs=NOT_INSTALLED)
        for python in pythons:
            peer = measure_apart(python, name)
            if peer.differs != NOT_INSTALLED:
                break
        yield peer


def measure_apart(python: Path, name: str) -> Peer:
    """Measure one SDK in a process of its own, and give up on it after a minute."""
    command = [str(python), __file__, name]
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, text=True, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Peer(name=name, differs=f"failed: no answer in {LONGEST_SECONDS} s")
    except subprocess.CalledProcessError as failure:
        lines = failure.stderr.strip().splitlines() or [f"exit status {failure.returncode}"]
        return Peer(name=name, differs=f"failed: {lines[-1]}")
    # An SDK may have printed something of its own before.
    return Peer(**json.loads(done.stdout.splitlines()[-1]))


def measure(name: str) -> Peer:
    """Measure one SDK in this process."""
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Peer(name=name, differs=NOT_INSTALLED)
    stay()
    sdk = import_module(f"sdks.{PEERS[name]}")
    with sdk.decider() as decide:
        on, of = first_round(decide)
        rate = best_rate(decide, of)
    return Peer(name=name, version=installed, rate=rate, on=on, of=of, differs=sdk.DIFFERS)


def first_round(decide: Decide) -> tuple[int, int]:
    """Count for how many it is on, and how many subjects fit into the time of one round."""
    on = of = 0
    until = perf_counter() + ROUND_SECONDS
    for subject, attributes in subjects():
        on += decide(subject, attributes)
        of += 1
        if perf_counter() > until:
            break
    return on, of


def best_rate(decide: Decide, of: int, *, rounds: int = ROUNDS) -> float:
    """Return decisions a second: the best of some rounds, which other load disturbed least."""
    asked = subjects(of)
    best = float("inf")
    for _ in range(rounds):
        started = perf_counter()
        for subject, attributes in asked:
            decide(subject, attributes)
        best = min(best, perf_counter() - started)
    return of / best


def line(peer: Peer) -> str:
    """Return one peer as a line of a table."""
    if peer.version is None:
        return f"{peer.name:28} {peer.differs}"
    share = f"on for {peer.on / peer.of:6.2%} of {peer.of:7,}"
    words = f"   ({peer.differs})" if peer.differs else ""
    return f"{peer.name:28} {peer.version:10} {peer.rate:10,.0f} /s   {share}{words}"


def main() -> None:
    """Measure one and print it for a program, or all and print them for people."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--peers", action="append", type=Path, metavar="PYTHON")
    arguments = parser.parse_args()
    if arguments.name:
        print(json.dumps(asdict(measure(arguments.name))))
        return
    for peer in measure_all(arguments.peers or [Path(sys.executable)]):
        print(line(peer), flush=True)


if __name__ == "__main__":
    main()

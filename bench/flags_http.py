"""How many evaluations a second are answered over HTTP, beside servers that do nothing.

    python bench/flags_http.py [--seconds 5] [--unleash-proxy NODE_MODULES] [--cpus 0 1]

Under gunicorn, as the web process is served: a Flask view that does nothing, a WSGI callable that
does nothing, one that sends an evaluation's headers, one flag, ten flags.  Under granian, in one
process, as the edge is served: the WSGI callable and the same evaluations; and beside them the
Unleash proxy, where it is installed in NODE_MODULES (``npm install --prefix DIR @unleash/proxy``).
``--cpus SERVER LOAD`` keeps servers of one process on one processor and what asks them on another.
Needs wrk.

What is compared is asked in turn, several times, and the best of each counts, because a machine
that does other things disturbs one more than the other.  Beside the rate stands the processor time
that the server took for a request, which is disturbed far less: of two servers that have a whole
processor, the one that takes half the time answers twice as many.
"""

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx

from loads import Load, load
from processors import spent_by_children
from question import RULE_COUNTRIES, RULE_PLANS, RULE_SHARE, SHARE, WHITELIST
from servers import PROGRAMS, ROOT, granian, gunicorn, running
from unleash_proxy.proxy import HEADERS, NAMED, ONE, installed_version, start_proxy

API = "/api/v1/feature-flags"
FLAGS = [f"bench.flag{number}" for number in range(20)]
PORT = 8310
SUBJECT = {"user_id": "user-1", "attributes": {"plan": "pro", "country": "DE"}}
SINGLE = (f"{API}/{FLAGS[0]}/evaluate", json.dumps(SUBJECT))
BULK = (f"{API}/evaluate-bulk", json.dumps(SUBJECT | {"flag_names": FLAGS[:10]}))
NOTHING = ("/", json.dumps(SUBJECT))


@dataclass(frozen=True, slots=True)
class Asked:
    """One kind of request to one server."""

    name: str
    ask: Callable[..., Load]


@dataclass(frozen=True, slots=True)
class Seen:
    """The best of all rounds; ``processor`` is in microseconds of the server's for each request."""

    load: Load
    processor: float


def flag(name: str) -> Mapping[str, object]:
    """Return a flag as the API takes it: the question of the other benchmarks."""
    conditions = [
        {"attribute": "plan", "operator": "in", "values": RULE_PLANS},
        {"attribute": "country", "operator": "in", "values": RULE_COUNTRIES},
    ]
    rule = {"name": "paying", "conditions": conditions, "percentage": float(RULE_SHARE)}
    share = {"enabled": True, "percentage": float(SHARE), "whitelist": WHITELIST}
    return {"name": name, "rules": [rule], **share}


@contextmanager
def deployment() -> Iterator[dict[str, str]]:
    """Make a database with the flags and a token, and yield the settings that lead to it."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "INSTANCE_DIR": folder,
            "LOG_LEVEL": "ERROR",
            "FLASK_APP": "wsgi",
            # Counted as ever, and never too many.
            "REQUEST_LIMIT_EVALUATIONS": "1000000000",
        }
        flask(environ, "db", "upgrade")
        token = flask(environ, "tokens", "create", "--role", "admin", "--name", "bench")
        yield environ | {"TOKEN": token.split()[-1]}


def flask(environ: Mapping[str, str], *words: str) -> str:
    """Run a command of the application and return what it says."""
    done = subprocess.run(
        [str(PROGRAMS / "flask"), *words],
        env=os.environ | environ,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def make_flags(address: str, headers: Mapping[str, str]) -> None:
    """Make the flags over the API."""
    document = {"format": "switchyard.feature-flags/1", "flags": [flag(name) for name in FLAGS]}
    wanted = document | {"reason": "to be measured"}
    httpx.post(f"{address}{API}/import", json=wanted, headers=headers).raise_for_status()


def in_turn(asked: Sequence[Asked], seconds: int, rounds: int) -> dict[str, Seen]:
    """Load each in turn, some rounds of it, and return the best of each."""
    best: dict[str, Seen] = {}
    for item in asked:
        item.ask(seconds=1)
    for _ in range(rounds):
        for item in asked:
            now, before = _measured(item, seconds), best.get(item.name)
            best[item.name] = _better(before, now) if before else now
    return best


def _measured(item: Asked, seconds: int) -> Seen:
    """Load one; what loads it has ended by the time that the servers' times are read."""
    began = spent_by_children()
    seen = item.ask(seconds=seconds)
    if seen.errors:
        sys.exit(f"{item.name}: {seen.errors} errors")
    spent = spent_by_children() - began
    return Seen(seen, spent / (seen.requests_per_second * seconds) * 1e6)


def _better(one: Seen, other: Seen) -> Seen:
    load = max(one.load, other.load, key=lambda item: item.requests_per_second)
    return Seen(load, min(one.processor, other.processor))


def show(title: str, seen: Mapping[str, Seen], floor: str) -> None:
    """Print rates, latencies and processor times, and ratios to one of them."""
    print(f"{title}; ratios to {floor}")
    least, most = seen[floor].load.requests_per_second, seen[floor].processor
    for name, item in seen.items():
        rate = item.load.requests_per_second
        print(
            f"  {name:26} {rate:8,.0f} /s {rate / least:5.2f} x"
            f"   p50 {item.load.p50:6.2f} ms   p99 {item.load.p99:6.2f} ms"
            f"   processor {item.processor:4.0f} µs, {most / item.processor:5.2f} x less",
            flush=True,
        )


def under_gunicorn(environ: Mapping[str, str], arguments: Namespace) -> None:
    """Compare the web process with floors under the same server."""
    headers = {"Authorization": f"Bearer {environ['TOKEN']}"}
    with ExitStack() as stack:
        start = stack.enter_context
        nothing = start(running(gunicorn("nothing:flask_app", PORT), PORT, path="/"))
        bare = start(running(gunicorn("nothing:wsgi_app", PORT + 1), PORT + 1, path="/"))
        dressed = start(running(gunicorn("nothing:dressed_app", PORT + 6), PORT + 6, path="/"))
        command = gunicorn("wsgi:app", PORT + 2)
        ours = start(running(command, PORT + 2, path="/ready", environ=environ))
        make_flags(ours, headers)
        asked = [
            Asked("Flask view, nothing", partial(load, nothing + NOTHING[0], body=NOTHING[1])),
            Asked("WSGI callable, nothing", partial(load, bare + NOTHING[0], body=NOTHING[1])),
            Asked(
                "WSGI callable, our headers",
                partial(load, dressed + NOTHING[0], headers=headers, body=NOTHING[1]),
            ),
            Asked("one flag", partial(load, ours + SINGLE[0], headers=headers, body=SINGLE[1])),
            Asked("ten flags", partial(load, ours + BULK[0], headers=headers, body=BULK[1])),
        ]
        seen = in_turn(asked, arguments.seconds, arguments.rounds)
    show("gunicorn, 2 processes of 8 threads", seen, "Flask view, nothing")


def under_granian(environ: Mapping[str, str], arguments: Namespace) -> None:
    """Compare the edge with its floor, and with the Unleash proxy where that is installed."""
    headers = {"Authorization": f"Bearer {environ['TOKEN']}"}
    server, client = arguments.cpus or (None, None)
    serve = partial(running, cpu=server)
    ask = partial(load, cpu=client)
    floor = "WSGI callable, nothing"
    with ExitStack() as stack:
        start = stack.enter_context
        bare = start(serve(granian("nothing:wsgi_app", PORT + 3), PORT + 3, path="/"))
        command = granian("webapp.edge:create_edge_from_environment", PORT + 4, factory=True)
        edge = start(serve(command, PORT + 4, path="/ready", environ=environ))
        asked = [
            Asked(floor, partial(ask, bare + NOTHING[0], body=NOTHING[1])),
            Asked("one flag", partial(ask, edge + SINGLE[0], headers=headers, body=SINGLE[1])),
            Asked("ten flags", partial(ask, edge + BULK[0], headers=headers, body=BULK[1])),
        ]
        if modules := arguments.unleash_proxy:
            floor = f"@unleash/proxy {installed_version(modules)}"
            proxy = start(start_proxy(modules, PORT + 5, cpu=server))
            asked.append(Asked(floor, partial(ask, proxy + NAMED, headers=HEADERS, body=ONE)))
        seen = in_turn(asked, arguments.seconds, arguments.rounds)
    show("granian, 1 process", seen, floor)


def main() -> None:
    """Measure both kinds of server on one set of flags."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unleash-proxy", type=Path, metavar="NODE_MODULES")
    parser.add_argument("--cpus", type=int, nargs=2, metavar=("SERVER", "LOAD"))
    arguments = parser.parse_args()
    with deployment() as environ:
        under_gunicorn(environ, arguments)
        under_granian(environ, arguments)


if __name__ == "__main__":
    main()

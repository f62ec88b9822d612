"""What the Unleash proxy bears: ``python bench/unleash_proxy NODE_MODULES``.

Where there are two processors, the proxy has one of them and what asks it the other.
"""

import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loads import load
from unleash_proxy.proxy import ALL, ENABLED, HEADERS, NAMED, ONE, installed_version, start_proxy


def main() -> None:
    """Load each kind of request for some seconds and print what came of it."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("node_modules", type=Path, metavar="NODE_MODULES")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--cpus", type=int, nargs=2, metavar=("PROXY", "LOAD"))
    arguments = parser.parse_args()
    proxy_cpu, load_cpu = arguments.cpus or (None, None)
    version = installed_version(arguments.node_modules)
    if version is None:
        sys.exit(f"@unleash/proxy is not installed in {arguments.node_modules}")
    print(f"@unleash/proxy {version}")
    kinds = {
        "20 flags, those that are on": (ENABLED, None),
        "20 flags, all": (ALL, None),
        "one flag": (NAMED, ONE),
    }
    with start_proxy(arguments.node_modules, arguments.port, cpu=proxy_cpu) as address:
        for kind, (path, body) in kinds.items():
            ask = partial(load, address + path, headers=HEADERS, body=body, cpu=load_cpu)
            # Node.js compiles what runs often: the first second is not what it comes to.
            ask(seconds=1)
            seen = ask(seconds=arguments.seconds)
            print(
                f"{kind:28} {seen.requests_per_second:8,.0f} /s   p50 {seen.p50:6.2f} ms"
                f"   p99 {seen.p99:6.2f} ms   {seen.errors} errors",
                flush=True,
            )


if __name__ == "__main__":
    main()

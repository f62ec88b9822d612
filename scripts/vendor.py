"""Fetch the pinned front-end files into ``static/vendor``.

Decides nothing about versions: ``static/vendor/lock.json`` holds each package with its version, the
integrity of its archive and the files that are wanted of it. Every archive is checked before a
file of it is written, and the sha256 of what was written goes back into the lock, so that a test
can tell whether the files in the tree are the ones that were fetched.

    python scripts/vendor.py           fetch everything anew
    python scripts/vendor.py --check   only compare the tree with the lock
"""

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parent.parent / "static" / "vendor"
LOCK = VENDOR / "lock.json"

# What an icon's own <svg> says about stroke and fill, said once for each symbol.
SYMBOL = (
    '<symbol id="{id}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
    'stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">{body}</symbol>'
)


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description="Fetch the pinned front-end files.")
    parser.add_argument("--check", action="store_true", help="only compare the tree with the lock")
    check_only = parser.parse_args().check
    lock = json.loads(LOCK.read_text())
    if not check_only:
        fetch_all(lock)
        LOCK.write_text(json.dumps(lock, indent=2) + "\n")
    faults = differences(lock)
    for fault in faults:
        print(f"vendor: {fault}", file=sys.stderr)
    return 1 if faults else 0


def fetch_all(lock: dict[str, Any]) -> None:
    """Bring every package of the lock into the tree, and note what each file hashes to."""
    with tempfile.TemporaryDirectory() as folder:
        archives = []
        for package in lock["packages"]:
            archive = download(package["name"], package["version"], Path(folder))
            verify(archive, package["integrity"])
            archives.append((archive, package))
        # Only now: one archive that is not what was pinned leaves the tree as it was.
        for archive, package in archives:
            extract(archive, package)
    written = sorted(path for path in VENDOR.rglob("*") if path.is_file() and path != LOCK)
    lock["sha256"] = {str(path.relative_to(VENDOR)): digest(path) for path in written}


def download(name: str, version: str, folder: Path) -> Path:
    """Let npm fetch one archive, from whatever registry it is set up with."""
    command = ["npm", "pack", "--json", "--silent", f"{name}@{version}"]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    answer = json.loads(result.stdout)
    # npm 11 and older answer with a list, npm 12 with an object by package.
    entry = answer[0] if isinstance(answer, list) else next(iter(answer.values()))
    return folder / str(entry["filename"]).lstrip("@").replace("/", "-")


def verify(archive: Path, integrity: str) -> None:
    """Refuse an archive whose hash is not the one that was pinned."""
    kind, _, expected = integrity.partition("-")
    actual = base64.b64encode(hashlib.new(kind, archive.read_bytes()).digest()).decode()
    if actual != expected:
        raise SystemExit(f"vendor: {archive.name} is not what the lock pins; nothing was written.")


def extract(archive: Path, package: dict[str, Any]) -> None:
    """Write the wanted files of one archive."""
    with tarfile.open(archive) as tar:
        for source, target in package["files"].items():
            path = VENDOR / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member(tar, source))
        if icons := package.get("icons"):
            sprite = VENDOR / "icons.svg"
            sprite.write_text(build_sprite({name: outline(tar, name) for name in icons}))


def member(tar: tarfile.TarFile, name: str) -> bytes:
    """Read one file of an npm archive, where everything stands under ``package/``."""
    file = tar.extractfile(f"package/{name}")
    if file is None:
        raise SystemExit(f"vendor: {name} is not a file of its archive.")
    return file.read()


def outline(tar: tarfile.TarFile, name: str) -> str:
    """Read one outline icon."""
    return member(tar, f"icons/outline/{name}.svg").decode()


def build_sprite(icons: dict[str, str]) -> str:
    """Join icons into one file of symbols that take the colour of the text around them."""
    symbols = [SYMBOL.format(id=name, body=strokes(icons[name])) for name in sorted(icons)]
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def strokes(svg: str) -> str:
    """Return an icon's shapes without its frame and without the empty square behind them."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r'<path stroke="none" d="M0 0h24v24H0z" fill="none"\s*/>', "", body)
    return re.sub(r"\s*\n\s*", "", body).replace(" />", "/>")


def differences(lock: dict[str, Any]) -> list[str]:
    """Name every file that is missing, changed or not in the lock."""
    present = {str(p.relative_to(VENDOR)) for p in VENDOR.rglob("*") if p.is_file() and p != LOCK}
    pinned: dict[str, str] = lock["sha256"]
    return (
        [f"{name} is missing" for name in sorted(pinned.keys() - present)]
        + [f"{name} is not in the lock" for name in sorted(present - pinned.keys())]
        + [
            f"{name} is not the file that was fetched"
            for name in sorted(present & pinned.keys())
            if digest(VENDOR / name) != pinned[name]
        ]
    )


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())

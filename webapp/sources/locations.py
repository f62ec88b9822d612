"""Where a source is: an address, an absolute path, or ``package:name/file.csv`` inside a package.

Decides which files and addresses may be a source at all.  Of files only ``.csv`` may, after links
have been followed: whoever adds a source must not be able to show the machine's secrets by a path.
"""

import errno
import os
import re
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, urlsplit

from webapp.errors import Invalid
from webapp.logs import MASK, masked
from webapp.outbound.addresses import check_url
from webapp.outbound.clients import allowed_hosts
from webapp.sources.values import SourceKind

PACKAGE = "package:"
SUFFIX = ".csv"
URL = ("https://", "http://")
MAX_LOCATION = 1000
# No path means them: control characters, and halves of surrogate pairs, which have no bytes.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def is_url(location: str) -> bool:
    """Tell whether a location is an address, and not a file."""
    return location.lower().startswith(URL)


def check_location(location: str, kind: str = SourceKind.CSV) -> str:
    """Return ``location`` where its form is right; :class:`Invalid` names the field else.

    Whether something is there is not asked: it may arrive later.
    """
    if len(location) > MAX_LOCATION:
        raise Invalid.field("location", f"Use at most {MAX_LOCATION:,} characters.")
    if _UNFIT.search(location):
        raise Invalid.field("location", "It holds characters that no path has.")
    if is_url(location) or kind != SourceKind.CSV:
        return _checked_url(location)
    if location.startswith(PACKAGE):
        if not _is_in_package(location):
            raise Invalid.field(
                "location", "Write a file of a package as package:airportsdata/airports.csv."
            )
    elif not Path(location).is_absolute():
        raise Invalid.field(
            "location", "Give an address, or an absolute path, such as /srv/data/orders.csv."
        )
    if not location.lower().endswith(SUFFIX):
        raise Invalid.field("location", f"A CSV source is a file that ends in {SUFFIX}.")
    return location


def _checked_url(location: str) -> str:
    """Refuse an address that may not be called, or that shows a secret to whoever sees it."""
    check_url(location, field="location", allowed=allowed_hosts())
    names = [name for name, _ in parse_qsl(urlsplit(location).query, keep_blank_values=True)]
    if any(masked({name: "x"}) == {name: MASK} for name in names):
        raise Invalid.field(
            "location",
            "Everybody sees the address, so no secret may stand in it: send it as a header.",
        )
    return location


def _is_in_package(location: str) -> bool:
    package, _, inside = location.removeprefix(PACKAGE).partition("/")
    path = PurePosixPath(inside)
    leads_out = path.is_absolute() or ".." in path.parts
    return package.isidentifier() and bool(inside) and not leads_out


def find_file(location: str) -> Path:
    """Return the file that ``location`` means now; an :class:`OSError` says why there is none."""
    if is_url(location):
        raise Invalid.field("location", "This is an address, and no file.")
    check_location(location)
    path = _in_package(location) if location.startswith(PACKAGE) else Path(location)
    real = path.resolve(strict=True)
    if real.suffix.lower() != SUFFIX or not real.is_file():
        raise FileNotFoundError(
            errno.ENOENT, f"There is no {SUFFIX} file behind this path", location
        )
    return real


def _in_package(location: str) -> Path:
    """Find the package without importing it: looking for a file must not run its code."""
    package, _, inside = location.removeprefix(PACKAGE).partition("/")
    spec = PathFinder.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, inside)
        if path.exists():
            return path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)

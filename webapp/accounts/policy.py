"""The rules of accounts: names, passwords, how long failed tries lock, where to go after sign-in.

Pure: nothing here knows the database, the request or the clock.
"""

import hashlib
import math
import re
from datetime import timedelta

from webapp.networks import network

FREE_TRIES = 5
FIRST_LOCK_SECONDS = 30
LONGEST_LOCK_SECONDS = 3600
# Tries that lie further back than this are forgotten.
THROTTLE_MEMORY = timedelta(days=1)

# However busy it is, a session ends after this; how long it may be idle is a setting.
SESSION_LIFETIME = timedelta(days=30)

MIN_PASSWORD = 12
MAX_PASSWORD = 1024
MAX_USERNAME = 64
# Longer than any address of ours, and short enough for the headers that a proxy lets through.
MAX_PATH = 2000

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]*\Z")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_TWO_MINUTES = 120


def normal_username(text: str) -> str:
    """Return the form in which a name is kept and compared: case does not matter."""
    return text.strip().lower()


def username_problem(username: str) -> str | None:
    """Say what is wrong with a name in its normal form, or None."""
    if not 1 <= len(username) <= MAX_USERNAME:
        return f"Use 1 to {MAX_USERNAME} characters."
    if not _USERNAME.match(username):
        return "Use letters, digits and . _ @ + -, beginning with a letter or digit."
    return None


def password_problem(password: str, username: str) -> str | None:
    """Say what is wrong with a new password, or None.

    Length is what counts; rules about kinds of characters only make passwords predictable
    (NIST SP 800-63B, 5.1.1.2).
    """
    if len(password) < MIN_PASSWORD:
        return f"Use at least {MIN_PASSWORD} characters."
    if len(password) > MAX_PASSWORD:
        return f"Use at most {MAX_PASSWORD} characters."
    if password.strip().lower() == username:
        return "Use something other than the username."
    if len(set(password)) == 1:
        return "Use more than one character over and over."
    return None


def token_hash(text: str) -> str:
    """Return what is kept of a token: it is random enough that a plain hash cannot be guessed."""
    return hashlib.sha256(text.encode()).hexdigest()


def throttle_keys(username: str, address: str) -> tuple[str, str]:
    """Return what a try counts against: its account, known or not, and where it came from."""
    return f"account:{normal_username(username)[:MAX_USERNAME]}", f"address:{network(address)}"


def lock_seconds(tries: int) -> int:
    """Return for how long this many tries without a good one lock: 30 s, doubling, up to 1 h."""
    if tries < FREE_TRIES:
        return 0
    # Bounded, so that a great many tries make no great number.
    doublings = min(tries - FREE_TRIES, 10)
    return min(FIRST_LOCK_SECONDS << doublings, LONGEST_LOCK_SECONDS)


def wait_in_words(seconds: float) -> str:
    """Write a wait for a person."""
    whole = max(1, math.ceil(seconds))
    if whole <= _TWO_MINUTES:
        return f"{whole} second{'s' if whole > 1 else ''}"
    return f"{math.ceil(whole / 60)} minutes"


def local_path(target: str | None) -> str:
    r"""Return ``target`` where it is a path on this site, else the front page.

    Browsers take ``//host`` and ``/\host`` for other sites, and drop tabs and line ends before
    they look, so whatever holds a control character or a backslash is no path of ours.
    """
    if not target or not target.startswith("/") or target.startswith("//"):
        return "/"
    return "/" if len(target) > MAX_PATH or _CONTROL.search(target) else target

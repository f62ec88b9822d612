"""Keeps passwords as argon2id hashes, at the cost that OWASP advises for 19 MiB of memory."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1

_hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)

# The hash of nothing: comparing with it takes as long as with anybody's.
_NOBODY = (
    f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${'A' * 22}${'A' * 43}"  # 16 and 32 bytes
)


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    return _hasher.hash(password)


def password_matches(password: str, kept: str | None) -> bool:
    """Compare a password with what was kept.

    ``None`` stands for an account that does not exist: it matches nothing and takes as long, so
    that the time of an answer does not tell which names exist.
    """
    try:
        _hasher.verify(kept or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Tell whether a hash was made at another cost than today's."""
    return _hasher.check_needs_rehash(kept)

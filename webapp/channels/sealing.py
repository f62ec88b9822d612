"""Keeps an address secret in the database: Fernet under a key that follows from SECRET_KEY.

The key is derived by HKDF for this purpose alone, so that nothing else that SECRET_KEY signs or
encrypts can be read or made with it.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE = b"switchyard channels v1"
_KEY_BYTES = 32


def seal(secret_key: str, url: str) -> str:
    """Return an address as it is stored."""
    return _fernet(secret_key).encrypt(url.encode()).decode()


def unseal(secret_key: str, sealed: str) -> str | None:
    """Return the address, None where it was sealed under another SECRET_KEY or is damaged."""
    try:
        return _fernet(secret_key).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


@lru_cache(maxsize=4)
def _fernet(secret_key: str) -> Fernet:
    derivation = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derivation.derive(secret_key.encode())))

"""Access tokens: what is signed for a person who showed a password, and how it is read again.

Pure.  A JSON Web Token (RFC 7519) by HMAC-SHA-256; no other algorithm is read, whatever a token
says of itself.  Its key follows from the installation's secret and serves nothing else.
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from webapp.roles import Role

ALGORITHM: Final = "HS256"
ISSUER: Final = "switchyard"
AUDIENCE: Final = "switchyard-api"
LIFETIME: Final = timedelta(minutes=15)
# So far ahead may the clock be of the machine that signed it.
CLOCK_DIFFERENCE: Final = timedelta(seconds=30)
# Ours have some 400 characters: what is much longer need not be decoded to be refused.
_MOST_CHARACTERS: Final = 2048
_DOTS: Final = 2
_REQUIRED: Final = ["aud", "iss", "sub", "role", "epoch", "iat", "exp", "jti"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What an access token says: who, with which role, in which epoch of their account."""

    user_id: int
    role: Role
    epoch: int
    issued_at: datetime
    expires_at: datetime
    token_id: str


def signing_key(secret_key: str) -> bytes:
    """Return the key of access tokens."""
    return hmac.digest(secret_key.encode(), b"switchyard access tokens", "sha256")


def looks_signed(text: str) -> bool:
    """Tell an access token from an API token, which holds no dot."""
    return text.count(".") == _DOTS


def claims_for(
    user_id: int, *, role: Role, epoch: int, now: datetime, token_id: str
) -> AccessClaims:
    """Return what is to be signed for somebody, in whole seconds as the format has them."""
    issued_at = now.replace(microsecond=0)
    return AccessClaims(
        user_id=user_id,
        role=role,
        epoch=epoch,
        issued_at=issued_at,
        expires_at=issued_at + LIFETIME,
        token_id=token_id,
    )


def sign(claims: AccessClaims, key: bytes) -> str:
    """Write claims as a token."""
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(claims.user_id),
        "role": claims.role.value,
        "epoch": claims.epoch,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": claims.token_id,
    }
    return jwt.encode(said, key, algorithm=ALGORITHM)


def read(text: str, key: bytes, *, now: datetime) -> AccessClaims | None:
    """Return what a token says, None where it is not ours, is not for here, or has run out."""
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        said = jwt.decode(
            text,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # The times are compared below, by the clock that we are handed.
            options={
                "require": _REQUIRED,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        claims = _claims(said)
    # What is signed by us has this form; an older or newer version's may not.
    except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError):
        return None
    stands = claims.issued_at - CLOCK_DIFFERENCE <= now < claims.expires_at
    return claims if stands else None


def _claims(said: dict[str, Any]) -> AccessClaims:
    return AccessClaims(
        user_id=int(said["sub"]),
        role=Role(said["role"]),
        epoch=int(said["epoch"]),
        issued_at=datetime.fromtimestamp(said["iat"], UTC),
        expires_at=datetime.fromtimestamp(said["exp"], UTC),
        token_id=str(said["jti"]),
    )

"""How a receiver knows that a message is ours: signatures as Standard Webhooks has them.

Pure.  https://www.standardwebhooks.com says what is signed and how it is written.
"""

import base64
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def secret_in_force(callback_secret: str, secret_key: str) -> str:
    """Return the secret that was given, or else one that follows from the installation's own."""
    if callback_secret:
        return callback_secret
    key = hmac.digest(secret_key.encode(), b"switchyard callbacks", "sha256")
    return PREFIX + base64.b64encode(key).decode()


def keys_of(secrets: str) -> list[bytes]:
    """Return the key of each of the comma-separated secrets."""
    return [
        base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
        for secret in secrets.split(",")
    ]


def signed_headers(
    keys: Sequence[bytes], delivery_id: str, body: bytes, *, timestamp: int
) -> dict[str, str]:
    """Return the headers that go with a message; it is signed with every key.

    ``timestamp`` is that of this try, in seconds since 1970.
    """
    content = f"{delivery_id}.{timestamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys
    ]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }

"""One signed message to an address that somebody has named, guarded by the breaker of its host."""

from urllib.parse import urlsplit

import httpx
from flask import current_app

from webapp import __version__
from webapp.breakers.values import MAX_NAME
from webapp.clock import now
from webapp.guards import guard
from webapp.outbound.http import send
from webapp.outbound.signatures import keys_of, secret_in_force, signed_headers
from webapp.settings import Settings

ANSWER_SECONDS = 15.0
# Beyond the answer's time there is only that of the name's resolution.
LIMIT_SECONDS = 60.0


def post_signed(purpose: str, url: str, delivery_id: str, body: bytes) -> httpx.Response:
    """Post a JSON body once, signed as Standard Webhooks has it; every status but 2xx is an error.

    The breaker is named after the purpose and the host: one receiver that is away holds up no
    other.  Signed anew in each try: a receiver refuses what was signed long ago.
    """
    settings: Settings = current_app.extensions["settings"]
    keys = keys_of(secret_in_force(settings.callback_secret, settings.secret_key))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Switchyard/{__version__}",
        **signed_headers(keys, delivery_id, body, timestamp=int(now().timestamp())),
    }
    breaker = f"{purpose}:{urlsplit(url).hostname}"[:MAX_NAME]
    return guard(breaker).call(
        send, "POST", url, seconds=ANSWER_SECONDS, headers=headers, content=body
    )

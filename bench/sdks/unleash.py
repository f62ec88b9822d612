"""Unleash: the client with its features from a dict, asking no server and counting nothing."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from loopback import HOST
from question import FLAG, Decide
from unleash_proxy.features import feature

DIFFERS: Final = ""


@contextmanager
def decider() -> Iterator[Decide]:
    """Port 9 of this machine is where a client that spoke after all would find nobody."""
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        cache = FileCache("bench", directory=folder)
        cache.bootstrap_from_dict({"version": 2, "features": [feature(FLAG)]})
        client = UnleashClient(
            f"http://{HOST}:9/api",
            "bench",
            cache=cache,
            disable_metrics=True,
            disable_registration=True,
        )
        client.initialize_client(fetch_toggles=False)

        def decide(subject: str, attributes: Mapping[str, str]) -> bool:
            return bool(client.is_enabled(FLAG, {"userId": subject, "properties": attributes}))

        yield decide
        client.destroy()

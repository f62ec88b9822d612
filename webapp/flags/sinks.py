"""Where the counts of a process go: into the database, or to a process that has one."""

from typing import Final

import httpx
import orjson
from redis import Redis
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from webapp.db import engine_options, will_write
from webapp.flags.batches import UsageBatch, batch_as_document
from webapp.flags.recording import add_usage
from webapp.redis_link import redis_client

USAGE_PATH: Final = "/api/v1/feature-flags/usage"
USAGE_KEY: Final = "ff:usage"
# So many reports wait in Redis where nobody takes them; the oldest go first.
MOST_REPORTS: Final = 10_000
HTTP_TIMEOUT: Final = httpx.Timeout(5.0, connect=1.0)


class DatabaseSink:
    """Adds what a process counted to the shared rows, on a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._engine: Engine | None = None

    def tell(self, batch: UsageBatch) -> None:
        """Add a batch in one transaction."""
        with will_write(), Session(self._connected()) as session, session.begin():
            add_usage(session, batch)

    def begin_process(self) -> None:
        """Let go of the connection: the parent of a fork still speaks through that very socket."""
        if self._engine is not None:
            self._engine.dispose(close=False)
            self._engine = None

    def close(self) -> None:
        """Close the connection; telling opens it again."""
        if self._engine is not None:
            self._engine.dispose()

    def _connected(self) -> Engine:
        if self._engine is None:
            options = engine_options(self._database_url) | {"pool_size": 1, "max_overflow": 0}
            self._engine = create_engine(self._database_url, **options)
        return self._engine


class RedisSink:
    """Leaves reports in Redis, where a consumer takes them, see ``collecting``."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._client: Redis | None = None

    def tell(self, batch: UsageBatch) -> None:
        """Add a report to those that wait."""
        if self._client is None:
            self._client = redis_client(self._redis_url)
        with self._client.pipeline() as pipeline:
            pipeline.rpush(USAGE_KEY, orjson.dumps(batch_as_document(batch)))
            pipeline.ltrim(USAGE_KEY, -MOST_REPORTS, -1)
            pipeline.execute()

    def begin_process(self) -> None:
        """Let go of the connections, which belong to the parent."""
        self._client = None

    def close(self) -> None:
        """Close the connections; telling opens them again."""
        if self._client is not None:
            self._client.close()


class HttpSink:
    """Tells the console at ``base_url``; a report whose answer is lost may count twice."""

    def __init__(self, base_url: str, token: str) -> None:
        self._url = base_url.rstrip("/") + USAGE_PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._client: httpx.Client | None = None

    def tell(self, batch: UsageBatch) -> None:
        """Send a report."""
        if self._client is None:
            self._client = httpx.Client(timeout=HTTP_TIMEOUT, follow_redirects=False)
        body = orjson.dumps(batch_as_document(batch))
        self._client.post(self._url, content=body, headers=self._headers).raise_for_status()

    def begin_process(self) -> None:
        """Let go of the connections, which belong to the parent."""
        self._client = None

    def close(self) -> None:
        """Close the connections; telling opens them again."""
        if self._client is not None:
            self._client.close()
        self._client = None

"""The set-ups that faults are tried on: the embedded one, and that of production."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Deployment, deployed
from tests.servers import PostgresServer, RedisServer
from webapp.clock import now


@pytest.fixture(
    params=["sqlite", pytest.param("servers", marks=[pytest.mark.postgres, pytest.mark.redis])]
)
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A migrated deployment without processes, looked into from here."""
    environ = {}
    if request.param == "servers":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        redis: RedisServer = request.getfixturevalue("redis_server")
        redis.flush()
        environ = {
            "DATABASE_URL": postgres.create_database(f"faults_{now():%H%M%S%f}"),
            "REDIS_URL": redis.url,
        }
    with deployed(tmp_path, **environ) as deployment, deployment.looked_into():
        yield deployment

"""The servers that the other tests lean on: they start, stop, crash and come back as promised."""

import socket
from collections.abc import Iterator

import psycopg
import pytest
import redis

from tests import servers

pytest_plugins = ("pytester",)


@pytest.fixture(params=[True, False], ids=["durable", "volatile"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[servers.RedisServer]:
    program = servers.find_redis() or servers.missing_server("redis-server")
    with servers.RedisServer(program, durable=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[servers.PostgresServer]:
    programs = servers.find_postgres() or servers.missing_server("postgresql")
    with servers.PostgresServer(programs) as server:
        yield server


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((servers.LOOPBACK, port)) == 0


def text_of(url: str) -> str | None:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        value = client.get("signal")
    assert value is None or isinstance(value, str)
    return value


def leave_text(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set("signal", "green")


def count_of(url: str) -> int:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM trains").fetchone()
    assert row is not None
    return int(row[0])


def leave_row(url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS trains (id serial)")
        connection.execute("INSERT INTO trains DEFAULT VALUES")


@pytest.mark.redis
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_redis_comes_back_on_the_same_port_with_what_it_had_made_durable(
    redis_server: servers.RedisServer, end: str, request: pytest.FixtureRequest
) -> None:
    leave_text(redis_server.url)
    getattr(redis_server, end)()
    assert not redis_server.running
    assert not answers(redis_server.port)

    redis_server.start()
    durable = "durable" in request.node.callspec.id
    assert text_of(redis_server.url) == ("green" if durable else None)


@pytest.mark.redis
def test_redis_forgets_all_when_flushed(redis_server: servers.RedisServer) -> None:
    leave_text(redis_server.url)
    redis_server.flush()
    assert text_of(redis_server.url) is None


@pytest.mark.redis
def test_a_second_start_keeps_the_running_server(redis_server: servers.RedisServer) -> None:
    before = redis_server.pid
    redis_server.start()
    assert redis_server.pid == before


@pytest.mark.postgres
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgres_comes_back_on_the_same_port_with_its_rows(
    postgres_server: servers.PostgresServer, end: str
) -> None:
    url = postgres_server.create_database(f"railway_{end}")
    leave_row(url)
    getattr(postgres_server, end)()
    assert not postgres_server.running
    assert not answers(postgres_server.port)

    postgres_server.start()
    assert count_of(url) == 1
    postgres_server.drop_database(f"railway_{end}")


@pytest.mark.postgres
def test_a_restart_of_postgres_ends_the_connections(
    postgres_server: servers.PostgresServer,
) -> None:
    connection = psycopg.connect(postgres_server.url.replace("+psycopg", ""))
    postgres_server.restart()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


@pytest.mark.postgres
def test_closing_removes_process_and_data() -> None:
    programs = servers.find_postgres() or servers.missing_server("postgresql")
    with servers.PostgresServer(programs) as server:
        folder = server.folder
    assert not server.running
    assert not folder.exists()


def test_a_server_that_cannot_start_says_why() -> None:
    program = servers.find_redis() or servers.missing_server("redis-server")
    server = servers.RedisServer(program)
    (server.folder / "appendonlydir").write_text("a file where a folder belongs")
    with pytest.raises(RuntimeError, match=r"(?s)did not start.*appendonlydir"):
        server.start()
    server.close()


PRETEND = """
import pytest
from tests import servers
pytest_plugins = ("tests.servers",)
"""

NEEDS_A_SERVER = """
from tests import servers
def test_one(): servers.missing_server("redis-server")
def test_two(): servers.missing_server("redis-server")
"""


def test_a_missing_server_is_said_loudly(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(PRETEND)
    pytester.makepyfile(NEEDS_A_SERVER)
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*NOT RUN*", "2 tests did not run: no redis-server *"])


def test_a_missing_server_fails_where_nothing_may_be_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makeconftest(PRETEND)
    pytester.makepyfile(NEEDS_A_SERVER)
    pytester.runpytest_inprocess("-p", "no:randomly").assert_outcomes(failed=2)


DRIVES_PROCESSES = """
import pytest
@pytest.mark.browser
@pytest.mark.parametrize("number", range(3))
def test_browser(number): pass
@pytest.mark.fault
@pytest.mark.parametrize("number", range(3))
def test_fault(number): pass
@pytest.mark.parametrize("number", range(6))
def test_other(number): pass
"""


def test_tests_that_drive_whole_processes_run_last_and_one_at_a_time_in_their_group(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeconftest(PRETEND)
    pytester.makepyfile(DRIVES_PROCESSES)
    result = pytester.runpytest_subprocess(
        "-n2", "-v", "--dist=loadgroup", "--no-loadscope-reorder", "-p", "no:randomly"
    )
    result.assert_outcomes(passed=12)
    passed = [line for line in result.outlines if "PASSED" in line]
    assert all("test_other" in line for line in passed[:4])
    for kind in ("test_browser", "test_fault"):
        workers = {line.split()[0] for line in passed if kind in line}
        assert len(workers) == 1

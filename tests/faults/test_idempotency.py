"""One key, fifty requests, four processes; a process that dies with a key; a store that is away."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

import httpx
import pytest
from sqlalchemy import func, select, update

from tests.processes import Deployment, is_up, wait_until
from tests.servers import LOOPBACK, PostgresServer, free_port
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.idempotency.models import IdempotencyKey
from webapp.idempotency.values import CLAIM_LASTS
from webapp.jobs.models import Job
from webapp.roles import Role

pytestmark = pytest.mark.fault

PATH: Final = "/api/v1/queue/jobs/"
PROCESSES: Final = 4
EQUAL: Final = 50


class Program:
    """A program that enqueues the same under one key, over a connection for each request."""

    def __init__(self, deployment: Deployment, processes: int = PROCESSES) -> None:
        self.deployment = deployment
        self.port = free_port()
        self.server = deployment.start_web(self.port, processes)
        token = deployment.make_token(Role.OPERATOR)
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        self._client = httpx.Client(
            base_url=f"http://{LOOPBACK}:{self.port}", headers=headers, timeout=30
        )

    def close(self) -> None:
        self._client.close()

    def ask(self, key: str = "order-1", kind: str = "test_echo", **body: object) -> httpx.Response:
        return self._client.post(PATH + kind, json=body, headers={"Idempotency-Key": key})


@pytest.fixture
def program(deployment: Deployment) -> Iterator[Program]:
    program = Program(deployment)
    yield program
    program.close()


def jobs() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def test_a_key_is_carried_out_once_of_fifty_requests_and_after_a_kill(program: Program) -> None:
    assert_one_of_fifty_is_carried_out(program)
    assert_a_key_whose_process_is_killed_is_free_after_a_minute(program)


def assert_one_of_fifty_is_carried_out(program: Program) -> None:
    with ThreadPoolExecutor(EQUAL) as pool:
        answers = list(pool.map(lambda _: program.ask(), range(EQUAL)))
    good = [answer for answer in answers if answer.status_code == 202]
    first = [answer for answer in good if "Idempotency-Replayed" not in answer.headers]
    told = Counter(answer.status_code for answer in answers)
    assert jobs() == 1, told
    assert len(first) == 1, told
    assert set(told) <= {202, 409}
    assert {answer.content for answer in good} == {first[0].content}
    assert program.ask().content == first[0].content
    assert program.ask(priority=7).status_code == 422
    assert jobs() == 1


def assert_a_key_whose_process_is_killed_is_free_after_a_minute(program: Program) -> None:
    """It is killed while it reads the arguments: the key is claimed, and nothing is written yet."""
    before = jobs()
    killing = {"mark": str(program.deployment.folder / "was-killed")}
    with pytest.raises(httpx.TransportError):
        program.ask("order-2", "test_kill_web", arguments=killing)
    wait_until(lambda: is_up(program.port), seconds=20, what="another process answers")
    again = program.ask("order-2", "test_kill_web", arguments=killing)
    assert (again.status_code, again.headers["Retry-After"]) == (409, "1")
    assert jobs() == before
    with transaction() as session:
        session.execute(update(IdempotencyKey).values(claimed_at=now() - CLAIM_LASTS))
    for _ in range(2):
        answer = program.ask("order-2", "test_kill_web", arguments=killing)
        assert answer.status_code == 202
    assert jobs() == before + 1


@pytest.mark.parametrize(
    "deployment",
    [pytest.param("servers", marks=[pytest.mark.postgres, pytest.mark.redis])],
    indirect=True,
)
def test_with_the_store_away_nothing_is_carried_out(
    deployment: Deployment, postgres: PostgresServer
) -> None:
    with closing(Program(deployment, processes=2)) as program:
        assert_nothing_is_carried_out_while_it_is_away(program, postgres)


def assert_nothing_is_carried_out_while_it_is_away(
    program: Program, postgres: PostgresServer
) -> None:
    assert program.ask("warm-up").status_code == 202
    postgres.stop()
    away = program.ask()
    postgres.start()
    assert away.status_code == 503, away.text
    assert int(away.headers["Retry-After"]) > 0
    assert jobs() == 1
    # A process that has just found the store away says so for another second, as it has told the
    # program, which sends the same again.
    again = int(away.headers["Retry-After"])
    wait_until(lambda: is_carried_out(program), seconds=4 * again, what="carried out after all")
    assert jobs() == 2


def is_carried_out(program: Program) -> bool:
    answer = program.ask()
    assert answer.status_code in {202, 503}, answer.text
    return answer.status_code == 202

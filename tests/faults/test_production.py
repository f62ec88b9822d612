"""The production set-up as the docs describe it: restarted while it works, backed up, restored.

PostgreSQL, Redis, two web servers behind nginx over TLS, three consumers.
"""

import itertools
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from tests.jobs.types import TALLY
from tests.processes import ROOT, Deployment, deployed, wait_until
from tests.rows import rows_of
from tests.servers import (
    NginxServer,
    PostgresServer,
    RedisServer,
    find_nginx,
    find_postgres_program,
    find_redis,
    free_port,
    missing_server,
)
from tests.sites import HOST, make_admin, prepare, shipped
from webapp.actors import COMMAND
from webapp.audit.models import AuditEntry
from webapp.clock import now
from webapp.db import db, reading, transaction
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome

pytestmark = [pytest.mark.fault, pytest.mark.postgres, pytest.mark.redis]

EVALUATE: Final = "/api/v1/feature-flags/beta/evaluate"
SUBJECT: Final = {"user_id": "ada"}
JOBS: Final = "/api/v1/queue/jobs"
#: So many requests are answered before and after each restart, so that all of it is under load.
BETWEEN: Final = 12
CLIENTS: Final = 3


class Load:
    """Programs that read, evaluate and enqueue, and note every answer that is not as it should be.

    Each asks from an address of its own, since nginx bounds what one address may ask. Each thing
    is enqueued twice under one key, as by somebody who did not get the first answer.
    """

    def __init__(self, port: int, certificate: Path, token: str) -> None:
        self._url = f"https://{HOST}:{port}"
        self._trust = ssl.create_default_context(cafile=certificate)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []
        self.enqueued: dict[str, set[int]] = {}
        #: Whether each request has a connection of its own: an nginx that is told to reload closes
        #: those that are idle, and a program that is just about to use one has to ask again.
        self.single = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask until the block ends, and fail where anything was not answered well."""
        threads = [
            threading.Thread(target=self._ask_on, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def more(self) -> None:
        """Wait for some more answers of every kind."""
        before = Counter(self.answers)
        wait_until(
            lambda: all(
                self.answers[kind] >= before[kind] + BETWEEN
                for kind in ("read", "evaluated", "enqueued", "replayed")
            ),
            seconds=30,
            what=f"answers: {self.answers}, {self.faults}",
        )

    def _ask_on(self, number: int) -> None:
        transport = httpx.HTTPTransport(verify=self._trust, local_address=f"127.0.1.{number + 1}")
        with httpx.Client(
            base_url=self._url, headers=self._headers, transport=transport, timeout=20
        ) as client:
            for turn in itertools.count():
                if self._over.wait(0.25):
                    return
                self._ask(client, f"load-{number}-{turn}", slow=turn % 10 == 0)

    def _ask(self, client: httpx.Client, key: str, *, slow: bool) -> None:
        headers = {"Connection": "close"} if self.single else {}
        keyed = headers | {"Idempotency-Key": key}
        path = f"{JOBS}/test_tally"
        body: dict[str, object] = {}
        if slow:
            # Some of these run when their consumer is told to end; it has four seconds to let them.
            path, body = f"{JOBS}/test_echo", {"arguments": {"seconds": 1.5}}
        asked: tuple[tuple[str, int, Callable[[], httpx.Response]], ...] = (
            ("read", 200, lambda: client.get(JOBS, params={"limit": 5}, headers=headers)),
            ("evaluated", 200, lambda: client.post(EVALUATE, headers=headers, json=SUBJECT)),
            ("enqueued", 202, lambda: client.post(path, json=body, headers=keyed)),
            ("replayed", 202, lambda: client.post(path, json=body, headers=keyed)),
        )
        for name, status, ask in asked:
            try:
                answer = ask()
            except httpx.TransportError as error:
                self.faults.append(f"{name} {key}: {error!r}")
                continue
            if answer.status_code != status:
                self.faults.append(f"{name} {key}: {answer.status_code} {answer.text[:200]}")
                continue
            self.answers[name] += 1
            if status == HTTPStatus.ACCEPTED:
                self.enqueued.setdefault(key, set()).add(answer.json()["id"])


class Site:
    """Two web servers behind nginx and three consumers, and what an operator does to them."""

    def __init__(self, program: Path) -> None:
        self.ports = [free_port(), free_port()]
        self._plain_port = free_port()
        self._left_out: int | None = None
        self.nginx = NginxServer(program, self._configuration)
        self.webs: list[subprocess.Popen[bytes]] = []
        self.consumers: list[subprocess.Popen[bytes]] = []

    @property
    def certificate(self) -> Path:
        return self.nginx.folder / "certs" / "server.crt"

    def start(self, deployment: Deployment) -> None:
        """Start all processes of a deployment."""
        self.deployment = deployment
        self.consumers = [deployment.start_consumer(workers=1) for _ in range(3)]
        with ThreadPoolExecutor() as together:
            self.webs = list(together.map(deployment.start_web, self.ports))

    def stop(self) -> None:
        """End all processes in good order."""
        for process in (*self.webs, *self.consumers):
            self.deployment.end(process)
            assert process.returncode == 0

    def reload_web(self, number: int) -> None:
        """Have a web server begin anew in place: HUP."""
        process = self.webs[number]
        before = children_of(process.pid)
        process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: bool(after := children_of(process.pid)) and not before & after,
            seconds=30,
            what="new processes of a web server",
        )

    def replace_web(self, number: int) -> None:
        """Take a web server out of nginx, end it, start another one, and take that in."""
        port = self.ports[number]
        self.leave_out(port)
        process = self.webs[number]
        self.deployment.end(process)
        assert process.returncode == 0
        self.webs[number] = self.deployment.start_web(port)
        self.leave_out(None)

    def replace_consumers(self) -> None:
        """End one consumer after the other, each once its successor is there."""
        for number, consumer in enumerate(self.consumers):
            self.consumers[number] = self.deployment.start_consumer(workers=1)
            self.deployment.end(consumer)
            assert consumer.returncode == 0

    def leave_out(self, port: int | None) -> None:
        """Mark a web server as down, or none, and have nginx read its configuration."""
        self._left_out = port
        text = self._configuration(self.nginx.folder, self.nginx.port)
        (self.nginx.folder / "nginx.conf").write_text(text)
        before = children_of(self.nginx.pid)
        os.kill(self.nginx.pid, signal.SIGHUP)
        # Those that go on with the old configuration have ended with their last request.
        wait_until(
            lambda: not before & children_of(self.nginx.pid), seconds=30, what="nginx as told"
        )

    def _configuration(self, folder: Path, port: int) -> str:
        prepare(folder)
        consoles = [
            f"{console} down" if console == self._left_out else str(console)
            for console in self.ports
        ]
        return shipped(folder, port, plain_port=self._plain_port, consoles=consoles)


def children_of(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis as the compose file has it: nothing of it survives its end."""
    program = find_redis() or missing_server("redis")
    with RedisServer(program, durable=False) as server:
        yield server


@pytest.mark.timeout(240)
def test_restarts_lose_no_request_and_no_job_and_a_restored_backup_is_the_same(
    tmp_path: Path, postgres: PostgresServer, redis: RedisServer
) -> None:
    database = postgres.create_database(f"production_{now():%H%M%S%f}")
    settings = {
        "REDIS_URL": redis.url,
        "FORCE_HTTPS": "true",
        "TRUSTED_PROXIES": "1",
        "ALLOWED_HOSTS": HOST,
        "ENVIRONMENT": "production",
    }
    site = Site(find_nginx() or missing_server("nginx"))
    with site.nginx:
        with deployed(tmp_path, DATABASE_URL=database, **settings) as deployment:
            token = make_admin(deployment)
            with deployment.looked_into():
                with transaction() as session:
                    create_flag(
                        session, FlagDraft(name="beta"), by=COMMAND, now=now(), reason="Load"
                    )
                site.start(deployment)
                restart_under_load(site, Load(site.nginx.port, site.certificate, token))
                site.stop()
        restored = back_up_and_restore(postgres, database, tmp_path)
        assert_same_rows(database, restored)
        redis.flush()
        with Deployment(tmp_path, DATABASE_URL=restored, **settings) as deployment:
            deployment.start_consumer(workers=1)
            deployment.start_web(site.ports[0])
            site.leave_out(site.ports[1])
            assert_answers(site, token)


def restart_under_load(site: Site, load: Load) -> None:
    """Restart everything, each process in every way that the docs describe."""
    with load.running():
        load.more()
        site.reload_web(0)
        load.more()
        site.replace_consumers()
        load.single = True
        load.more()
        site.replace_web(1)
        load.more()
    assert load.faults == []
    assert all(len(ids) == 1 for ids in load.enqueued.values()), "one key made several jobs"
    wanted = {job_id for ids in load.enqueued.values() for job_id in ids}
    assert len(wanted) == len(load.enqueued)
    wait_until(lambda: ended() == len(wanted), seconds=30, what=f"an end of all {len(wanted)} jobs")
    assert_each_was_done_once(wanted)


def ended() -> int:
    with reading() as session:
        done = select(func.count()).select_from(Job).where(Job.state == JobState.SUCCEEDED)
        return session.scalar(done) or 0


def assert_each_was_done_once(wanted: set[int]) -> None:
    """No job but these, each by one attempt: a consumer that ends lets its jobs end."""
    with reading() as session:
        jobs = {job.id: job.type for job in session.scalars(select(Job))}
        attempts = session.execute(select(JobAttempt.job_id, JobAttempt.outcome)).all()
        traces = session.scalars(select(AuditEntry.name).where(AuditEntry.action == TALLY)).all()
    assert jobs.keys() == wanted
    # What is given back unbegun is no attempt that anything was done in.
    done = [job_id for job_id, outcome in attempts if outcome != Outcome.RELEASED]
    assert sorted(done) == sorted(wanted)
    assert sorted(traces) == sorted(str(id_) for id_, kind in jobs.items() if kind == "test_tally")


def back_up_and_restore(postgres: PostgresServer, database: str, folder: Path) -> str:
    """Do what docs/operating.md says, and return the address of the restored database."""
    dump = folder / "switchyard.dump"
    words = ["--format=custom", f"--file={dump}", plain(database)]
    subprocess.run([program("pg_dump"), *words], check=True, timeout=60)
    restored = postgres.create_database(f"restored_{now():%H%M%S%f}")
    words = ["--exit-on-error", "--no-owner", "--single-transaction"]
    words += [f"--dbname={plain(restored)}", str(dump)]
    subprocess.run([program("pg_restore"), *words], check=True, timeout=60)
    return restored


def program(name: str) -> Path:
    return find_postgres_program(name) or missing_server(name)


def plain(url: str) -> str:
    """The address as PostgreSQL's own programs take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def assert_same_rows(database: str, restored: str) -> None:
    before, after = rows_of(database), rows_of(restored)
    assert db.metadata.tables.keys() <= before.keys()
    assert all(
        before[name] for name in ("jobs", "job_attempts", "audit_entries", "idempotency_keys")
    )
    assert after == before


def assert_answers(site: Site, token: str) -> None:
    """Ask the site for what people and programs need, by the script that operators have."""
    asked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "smoke.py", f"https://{HOST}:{site.nginx.port}"],
        env={"TOKEN": token, "SSL_CERT_FILE": str(site.certificate)},
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert asked.returncode == 0, asked.stderr

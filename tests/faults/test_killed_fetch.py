"""A worker that is killed while it reads an API: the next one goes on behind its last page."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.processes import deployed, wait_until
from tests.sources.site import Headers, Query, site, with_cursor
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.values import JobState
from webapp.sources.models import EtlRun, Record
from webapp.sources.service import create_source, set_rate_limit
from webapp.sources.values import Options

pytestmark = pytest.mark.fault

PAGES, SIZE = 60, 10


def rows() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Record)) or 0


def test_a_killed_run_goes_on_behind_its_last_page(tmp_path: Path) -> None:
    pages = with_cursor(PAGES * SIZE, SIZE)

    def reply(path: str, query: Query, headers: Headers) -> bytes:
        # So slow that there is a middle to be killed in.
        server.stopped.wait(0.03)
        return pages(path, query, headers)

    with site(reply) as server:
        allowed = {"OUTBOUND_ALLOW_HOSTS": f"127.0.0.1:{server.port}"}
        with deployed(tmp_path, **allowed) as deployment, deployment.looked_into():
            with transaction() as session:
                create_source(
                    session,
                    "orders",
                    kind="api",
                    location=server.url + "orders",
                    key_field="id",
                    options=Options(
                        items="data.items", pagination="cursor", cursor_path="meta.next"
                    ),
                    by=SYSTEM,
                    now=now(),
                )
                set_rate_limit(
                    session, "orders", calls=0, seconds=None, by=SYSTEM, now=now(), reason="Test"
                )
                job_id = service.enqueue(
                    session, "etl", {"source": "orders"}, by=SYSTEM, now=now()
                ).id
            consumer = deployment.start_consumer(workers=1)
            wait_until(lambda: rows() >= 5 * SIZE, seconds=30, what="some pages before the kill")
            deployment.kill(consumer)
            before = rows()
            assert before < PAGES * SIZE, "the run was over before the kill: nothing was tried"
            assert before % SIZE == 0
            deployment.start_consumer(workers=1)
            wait_until(
                lambda: service_state(job_id) == JobState.SUCCEEDED, seconds=60, what="the rest"
            )
            with reading() as session:
                run = session.scalars(select(EtlRun)).one()
                keys = session.scalar(select(func.count(func.distinct(Record.key))))
            assert (run.processed, run.inserted, run.unchanged) == (PAGES * SIZE, PAGES * SIZE, 0)
            assert keys == rows() == PAGES * SIZE
            # Only what was asked for but not written yet was asked for again.
            assert len(server.received) <= PAGES + 2


def service_state(job_id: int) -> str:
    with reading() as session:
        return service.find_job(session, job_id).state

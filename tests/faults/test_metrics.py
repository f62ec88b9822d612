"""Metrics of a real web server and a real consumer: they add up, also when processes are killed."""

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import Deployment, deployed, wait_until
from tests.servers import LOOPBACK, PrometheusServer, find_prometheus, free_port, missing_server
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs import service

pytestmark = pytest.mark.fault

REQUESTS = 40
JOBS = 12
HEALTH = ("/health", "GET", "200")


def scraped(url: str, name: str) -> dict[tuple[str, ...], float]:
    text = httpx.get(url, timeout=60).raise_for_status().text
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask(port: int) -> None:
    """Ask over a connection of its own each time, so that every worker has its turn."""
    for _ in range(REQUESTS):
        httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).raise_for_status()


def enqueue(deployment: Deployment) -> None:
    with deployment.looked_into(), transaction() as session:
        for _ in range(JOBS):
            service.enqueue(session, "test_nothing", {}, by=SYSTEM, now=now())


def test_counts_of_all_processes_add_up_and_outlive_them(tmp_path: Path) -> None:
    # Where web server and worker count if nobody tells them.
    folder = tmp_path / "metrics" / socket.gethostname()
    folder.mkdir(parents=True)
    # What a life before has left.
    (folder / "counter_999999999.db").write_bytes(b"\0" * 65_536)
    port, counts_port = free_port(), free_port()
    metrics, counts = f"http://127.0.0.1:{port}/metrics", f"http://127.0.0.1:{counts_port}/metrics"
    with deployed(tmp_path, METRICS_PORT=str(counts_port)) as deployment:
        web = deployment.start_web(port, processes=2)
        consumer = deployment.start_worker("--workers", "2")
        assert not (folder / "counter_999999999.db").exists()

        before = scraped(metrics, "api_requests_total")[HEALTH]
        ask(port)
        assert scraped(metrics, "api_requests_total")[HEALTH] == before + REQUESTS

        enqueue(deployment)
        succeeded = ("test_nothing", "succeeded")
        wait_until(
            lambda: scraped(metrics, "job_runs_total").get(succeeded) == JOBS,
            seconds=30,
            what="every job counted",
        )
        assert scraped(metrics, "job_duration_seconds_count")["test_nothing",] == JOBS
        assert scraped(metrics, "job_wait_seconds_count")["test_nothing",] == JOBS
        assert scraped(counts, "job_runs_total")[succeeded] == JOBS
        wait_until(
            lambda: scraped(metrics, "workers_alive") == {(): 1},
            seconds=15,
            what="a worker alive",
        )

        killed = children_of(web.pid)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: len(set(children_of(web.pid)) - set(killed)) == len(killed),
            seconds=30,
            what="new web workers",
        )
        deployment.kill(consumer)
        ask(port)
        assert scraped(metrics, "api_requests_total")[HEALTH] == before + 2 * REQUESTS
        assert scraped(metrics, "job_runs_total")[succeeded] == JOBS
        # No gauge is any one process's: none that is gone has left one.
        text = httpx.get(metrics, timeout=60).text
        assert 'pid="' not in text
        assert not list(folder.glob("gauge_*"))
        # And no file: what those that ended have counted is one of each kind.
        for pid in (*killed, consumer.pid):
            assert not list(folder.glob(f"*_{pid}.db"))
        assert len(list(folder.glob("counter_ended*.db"))) == 1

        deployment.start_worker("--workers", "2")
        enqueue(deployment)
        wait_until(
            lambda: scraped(metrics, "job_runs_total").get(succeeded) == 2 * JOBS,
            seconds=30,
            what="counting goes on where it was",
        )


def test_a_prometheus_counts_what_was_sent_and_keeps_it_when_processes_are_killed(
    tmp_path: Path,
) -> None:
    """Two processes of a web server and two of a consumer, as on a host of its own each."""
    programs = find_prometheus() or missing_server("prometheus")
    port, counts_port = free_port(), free_port()
    targets = {"web": f"{LOOPBACK}:{port}", "worker": f"{LOOPBACK}:{counts_port}"}
    folder = tmp_path / "other host"
    with (
        deployed(tmp_path) as deployment,
        deployment.looked_into(),
        PrometheusServer(programs, targets) as prometheus,
    ):
        web = deployment.start_web(port, processes=2)
        consumer = deployment.start_worker(
            "--workers",
            "2",
            METRICS_PORT=str(counts_port),
            PROMETHEUS_MULTIPROC_DIR=str(folder),
        )

        def told(query: str, value: float | None) -> None:
            expected = {} if value is None else {(): value}
            wait_until(lambda: prometheus.ask(query) == expected, seconds=30, what=query)

        folders = {web: tmp_path / "metrics" / socket.gethostname(), consumer: folder}

        def all_count() -> bool:
            files = [
                path / f"counter_{pid}.db"
                for parent, path in folders.items()
                for pid in children_of(parent.pid)
            ]
            return sum(file.exists() for file in files) == 4

        for sent in (1, 2):
            load(port)
            told('sum(api_requests_total{endpoint="/sign-in", status="200"})', sent * REQUESTS)
            told(
                'sum(job_runs_total{job_type="test_echo", outcome="succeeded"})',
                sent * JOBS,
            )
            told("sum(job_wait_seconds_count)", sent * (JOBS + 1))
            told('sum(job_runs_total{job_type="test_fail", outcome="failed"})', sent)
            told("sum(dlq_added_total)", sent)
            # Of the database: told once, by the web server.
            told('sum(dlq_jobs{status="open"})', sent)
            told("sum(workers_alive)", 1)
            told("count(workers_alive)", 1)
            # Nothing is left of what was unfinished.
            told("sum(queue_depth)", None)
            if sent == 1:
                wait_until(all_count, seconds=30, what="two processes of each count")
                for parent in folders:
                    os.kill(children_of(parent.pid)[0], signal.SIGKILL)
        # What was scraped was never less later on, and no series is any one process's.
        for family in ("api_requests_total", "job_runs_total", "job_wait_seconds_count"):
            told(f"sum(resets({family}[5m]))", 0)
        told('count({pid!=""})', None)


def load(port: int) -> None:
    """Send requests from several sides at once while jobs run, one of which dies."""
    with transaction() as session:
        for _ in range(JOBS):
            service.enqueue(session, "test_echo", {"seconds": 0.05}, by=SYSTEM, now=now())
        service.enqueue(session, "test_fail", {"error": "TypeError"}, by=SYSTEM, now=now())
    with ThreadPoolExecutor(4) as sides:
        url = f"http://{LOOPBACK}:{port}/sign-in"
        for answer in sides.map(lambda _: httpx.get(url, timeout=60), range(REQUESTS)):
            answer.raise_for_status()

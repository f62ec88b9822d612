"""One request, the job that it enqueues, and its two attempts, told by real processes.

They stand in one trace, which a real collector is sent, and in log lines of one request id; no
secret is told with them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from tests.http_server import Received, Server
from tests.processes import Deployment, deployed, wait_until
from tests.servers import LOOPBACK, RedisServer, free_port
from tests.telemetry.collector import Collector, Told, collecting
from webapp.roles import Role

pytestmark = [pytest.mark.fault, pytest.mark.redis]

PLANTED: Final = "hunter2-and-nobody-else"
REQUEST_ID: Final = "story-0123456789"
CALLER: Final = "0af7651916cd43dd8448eb211c80319c"
JOBS: Final = "/api/v1/queue/jobs"


@dataclass(frozen=True)
class Story:
    """What was told of one request, and of all that came of it."""

    job_id: int
    token: str
    collector: Collector
    callee: Server
    logs: dict[str, str]
    pages: dict[str, str]

    def spans(self, name: str) -> list[Told]:
        """The spans of that kind and name, in the trace of whoever sent the request."""
        return [span for span in self.collector.trace(CALLER) if f"{span.kind} {span.name}" == name]

    def below(self, parent: Told) -> list[Told]:
        return [span for span in self.collector.spans if span.parent_id == parent.span_id]

    def lines(self, process: str) -> list[dict[str, Any]]:
        """Every line of a process; nothing but JSON is written, by whomever."""
        return [json.loads(line) for line in self.logs[process].splitlines()]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Story]:
    redis_server.flush()
    callee = Server()
    environ = {
        "OUTBOUND_ALLOW_HOSTS": f"{LOOPBACK}:{callee.port}",
        "JOB_MODULES": "tests.telemetry.traced_jobs",
        "REDIS_URL": redis_server.url,
    }
    with (
        collecting() as collector,
        deployed(tmp_path_factory.mktemp("story"), **environ) as deployment,
    ):
        with deployment.looked_into():
            token = deployment.make_token(Role.ADMIN)
        # Only now: the test's own process is not traced.
        deployment.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        yield _told(deployment, collector, callee, token)
    callee.close()


def _told(deployment: Deployment, collector: Collector, callee: Server, token: str) -> Story:
    port = free_port()
    web, worker = deployment.start_web(port), deployment.start_consumer(workers=1)
    headers = {
        "Authorization": f"Bearer {token}",
        "X-Request-ID": REQUEST_ID,
        "traceparent": f"00-{CALLER}-b7ad6b7169203331-01",
    }
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", headers=headers) as client:
        job_id = _enqueue(client, callee.url)
        shown = f"{JOBS}/{job_id}"
        wait_until(
            lambda: client.get(shown).json()["state"] == "succeeded",
            seconds=30,
            what=f"the job is done\n{deployment.log('worker')}",
        )
        paths = (shown, f"/jobs/{job_id}", "/jobs", "/nowhere?password=" + PLANTED)
        pages = {path: client.get(path).text for path in paths}
    for process in (worker, web):
        deployment.end(process)
    logs = {name: deployment.log(name) for name in ("web", "worker")}
    return Story(job_id, token, collector, callee, logs, pages)


def _enqueue(client: httpx.Client, url: str) -> int:
    enqueued = client.post(
        f"{JOBS}/test_call",
        params={"access_token": PLANTED},
        json={"arguments": {"url": url, "password": PLANTED}},
    )
    assert enqueued.status_code == 202, enqueued.text
    return int(enqueued.json()["id"])


def test_request_and_attempts_stand_in_one_trace(story: Story) -> None:
    (request,) = story.spans("SERVER POST /api/v1/queue/jobs/<type_name>")
    (sent,) = story.spans("PRODUCER send test_call")
    attempts = sorted(
        story.spans("CONSUMER run test_call"), key=lambda span: span.facts["job.attempt"]
    )
    assert request.facts["request.id"] == REQUEST_ID
    assert sent.parent_id == request.span_id
    assert [span.parent_id for span in attempts] == [sent.span_id, sent.span_id]
    assert [span.facts["job.outcome"] for span in attempts] == ["failed", "succeeded"]
    assert [span.status for span in attempts] == [2, 0]
    assert attempts[0].facts["error.type"] == "ReadError"
    for attempt in attempts:
        below = story.below(attempt)
        (call,) = [span for span in below if "url.full" in span.facts]
        assert (call.name, call.facts["url.full"]) == ("GET", story.callee.url.rstrip("/"))
        assert any("FROM jobs" in span.facts.get("db.query.text", "") for span in below)
    told = {
        (span.facts["db.system.name"], span.name)
        for span in story.below(request)
        if "db.system.name" in span.facts
    }
    assert told >= {("sqlite", "INSERT switchyard.db"), ("redis", "ZADD")}
    assert [_trace_of(received) for received in story.callee.received] == [CALLER, CALLER]


def _trace_of(received: Received) -> str:
    return received.headers["traceparent"].split("-")[1]


def test_what_processes_ask_by_themselves_is_nobodys_trace(story: Story) -> None:
    assert story.collector.paths == {"/v1/traces"}
    assert [span.name for span in story.collector.spans if not span.parent_id] == []


def test_log_lines_are_json_and_have_the_one_request_id(story: Story) -> None:
    web, worker = (
        [line for line in story.lines(name) if line.get("request_id") == REQUEST_ID]
        for name in ("web", "worker")
    )
    (answered,) = [line for line in web if line.get("method") == "POST"]
    assert (answered["event"], answered["trace_id"]) == ("request_answered", CALLER)
    events = [line["event"] for line in worker]
    assert (events.count("job_failed"), events.count("job_settled")) == (1, 2)
    failed = worker[events.index("job_failed")]
    assert (failed["trace_id"], failed["job_id"]) == (CALLER, story.job_id)


def test_both_processes_tell_of_their_start_and_end(story: Story) -> None:
    web, worker = ([line["event"] for line in story.lines(name)] for name in ("web", "worker"))
    assert any(event.startswith("Listening at") for event in web)
    assert (worker[0], worker[-1]) == ("worker_started", "worker_stopped")


def test_no_secret_is_told_anywhere(story: Story) -> None:
    told = {**story.logs, **story.pages, "spans": story.collector.raw.decode("latin-1")}
    # All of it speaks of the job, and none of it says too much.
    assert [name for name, text in told.items() if "test_call" not in text] == [
        "/nowhere?password=" + PLANTED
    ]
    for secret in (PLANTED, story.token):
        assert [name for name, text in told.items() if secret in text] == []

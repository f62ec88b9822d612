"""Whatever the OpenAPI document allows is sent to a server: it never fails, nor surprises."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.processes import BIN, Deployment, deployed
from tests.servers import LOOPBACK, free_port
from webapp.clock import now
from webapp.db import transaction
from webapp.roles import Role
from webapp.seed import seed

pytestmark = pytest.mark.fault

EXAMPLES: Final = 10
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.mark.timeout(240)
def test_no_request_that_the_document_allows_is_answered_otherwise_than_it_says(
    tmp_path: Path,
) -> None:
    with deployed(tmp_path) as deployment:
        with deployment.looked_into():
            with transaction() as session:
                seed(session, environ={}, now=now())
            token = deployment.make_token(Role.ADMIN)
        port = free_port()
        deployment.start_web(port)
        done = call_everything(deployment, f"http://{LOOPBACK}:{port}", token)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert "Stateful (disabled)" in done.stdout


def call_everything(
    deployment: Deployment, url: str, token: str
) -> subprocess.CompletedProcess[str]:
    words = {
        "--header": f"Authorization: Bearer {token}",
        "--phases": "examples,fuzzing",
        "--max-examples": str(EXAMPLES),
        "--checks": ",".join(CHECKS),
        "--workers": "4",
        "--warnings": "off",
        "--request-timeout": "30",
        # The server may close an idle connection in the moment in which it is used again.
        "--request-retries": "2",
    }
    return subprocess.run(
        [
            BIN / "schemathesis",
            "run",
            f"{url}/api/v1/openapi.json",
            *(word for pair in words.items() for word in pair),
            "--generation-deterministic",
            "--continue-on-failure",
            "--no-color",
        ],
        cwd=deployment.folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

"""A site for tests: nginx by the configuration that is shipped, on ports of ours."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.processes import ROOT, Deployment
from tests.servers import LOOPBACK
from webapp.accounts.service import create_token, create_user
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import transaction
from webapp.roles import Role

HOST: Final = "localhost"
PASSWORD: Final = "correct horse battery"


def make_admin(deployment: Deployment) -> str:
    """Make an account, and return a token that may as much."""
    with deployment.looked_into(), transaction() as session:
        facts: dict[str, Any] = {"role": Role.ADMIN, "by": COMMAND, "now": now()}
        create_user(session, "ada", password=PASSWORD, **facts)
        return create_token(session, "deploy", **facts).text


def prepare(folder: Path) -> None:
    """Put into the server's folder what the configuration names: certificate, files, logs."""
    if not (folder / "certs").exists():
        script = ROOT / "scripts" / "generate-ssl-certs.sh"
        subprocess.run([script, HOST, folder / "certs"], check=True, capture_output=True)
        shutil.copytree(ROOT / "static", folder / "site" / "static")


def shipped(folder: Path, port: int, *, plain_port: int, consoles: Iterable[str]) -> str:
    """Return the configuration that is shipped, with our paths and ports for its own.

    ``consoles`` are the upstream's servers, each with what the docs put behind its address.
    """
    text = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    for theirs, ours in {
        "listen 80 ": f"listen {LOOPBACK}:{plain_port} ",
        "listen 443 ": f"listen {LOOPBACK}:{port} ",
        "server web:8000;": " ".join(f"server {LOOPBACK}:{console};" for console in consoles),
        "/etc/nginx/certs/": f"{folder}/certs/",
        "/srv/switchyard": f"{folder}/site",
        "/var/log/nginx/": f"{folder}/",
        "/tmp/nginx": f"{folder}/nginx",  # noqa: S108 - what is replaced
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    return text

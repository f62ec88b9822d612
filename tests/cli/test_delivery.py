"""What is shipped to run the console elsewhere: compose files, units, nginx as it is fitted."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.processes import BIN, ROOT
from tests.servers import LOOPBACK, find_nginx, free_port, missing_server

CHECKED = {"interval": "30s", "timeout": "10s", "retries": 3, "start_period": "40s"}
NEEDED = {"SECRET_KEY": "x", "POSTGRES_PASSWORD": "x", "ALLOWED_HOSTS": "x"}
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services of both compose files, as compose itself joins them."""
    files = [word for name in ("", ".ssl") for word in ("-f", f"docker-compose{name}.yml")]
    command = [str(BIN / "docker-compose"), "--env-file", "/dev/null", *files, "config"]
    told = subprocess.run(
        [*command, "--format", "json"],
        cwd=ROOT,
        env=NEEDED,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, dict[str, Any]] = json.loads(told.stdout)["services"]
    return found


def test_every_service_is_asked_for_its_health(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"release", "web", "worker", "postgres", "redis", "nginx"}
    for name, service in services.items():
        check = service["healthcheck"]
        if name == "release":
            assert check["disable"]
            continue
        assert {key: check[key] for key in CHECKED} == CHECKED, name


def test_containers_write_where_they_must_and_nginx_alone_is_reached(
    services: dict[str, dict[str, Any]],
) -> None:
    assert [name for name, one in services.items() if not one.get("read_only")] == ["postgres"]
    assert [name for name, one in services.items() if one.get("ports")] == ["nginx"]
    assert all("no-new-privileges:true" in one["security_opt"] for one in services.values())
    assert all(one["logging"]["driver"] == "local" for one in services.values())


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_nothing_starts_without_what_is_needed(missing: str) -> None:
    environ = {name: value for name, value in NEEDED.items() if name != missing}
    command = [str(BIN / "docker-compose"), "--env-file", "/dev/null", "config", "--quiet"]
    told = subprocess.run(
        command, cwd=ROOT, env=environ, check=False, capture_output=True, text=True
    )
    assert told.returncode != 0
    assert missing in told.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_has_nothing_to_say_of_the_units(unit: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on this machine")
    # It looks whether what is to be started is there.
    copy = tmp_path / unit.name.replace("@", "@1")
    copy.write_text(unit.read_text().replace("/srv/switchyard/.venv/bin", str(BIN)))
    told = subprocess.run([program, "verify", copy], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_units_and_commands_have_the_same_settings_user_and_place() -> None:
    command = (ROOT / "deploy" / "systemd" / "switchyard").read_text()
    for unit in UNITS:
        text = unit.read_text()
        assert "\nEnvironmentFile=/etc/switchyard.env\n" in text
        assert "\nUser=switchyard\n" in text
        assert "\nWorkingDirectory=/srv/switchyard\n" in text
    assert ". /etc/switchyard.env" in command
    assert "cd /srv/switchyard" in command
    assert "--user switchyard" in command


def test_nginx_takes_the_configuration_that_the_docs_make_by_hand(tmp_path: Path) -> None:
    program = find_nginx() or missing_server("nginx")
    page = (ROOT / "docs" / "deploying.md").read_text()
    fitting = re.search(r"^sed .*?(?= >/etc/nginx/nginx\.conf$)", page, re.MULTILINE | re.DOTALL)
    assert fitting
    text = subprocess.run(
        ["sh", "-c", fitting[0]], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    script = ROOT / "scripts" / "generate-ssl-certs.sh"
    subprocess.run([script, "localhost", tmp_path], check=True, capture_output=True)
    for theirs, ours in {
        "server 127.0.0.1:8000;": f"server {LOOPBACK}:8000;",
        "pid /run/nginx.pid;": f"pid {tmp_path}/nginx.pid;",
        "/etc/nginx/certs/": f"{tmp_path}/",
        "/var/log/nginx/": f"{tmp_path}/",
        "/tmp/nginx": f"{tmp_path}/nginx",  # noqa: S108 - what is replaced
        "listen 80 ": f"listen {LOOPBACK}:{free_port()} ",
        "listen 443 ": f"listen {LOOPBACK}:{free_port()} ",
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    (tmp_path / "nginx.conf").write_text(text)
    command = [str(program), "-t", "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/nginx.conf"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "[warn]" not in told.stderr

"""The script that makes a certificate for a host, and removes none."""

import ssl
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "generate-ssl-certs.sh"


def generate(host: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, host, folder], check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("console.example", "DNS:console.example"),
        ("10.0.0.7", "IP Address:10.0.0.7"),
        ("::1", "IP Address:0:0:0:0:0:0:0:1"),
    ],
)
def test_the_certificate_is_for_the_name_and_the_key_for_its_owner(
    tmp_path: Path, host: str, name: str
) -> None:
    made = generate(host, tmp_path)
    assert made.returncode == 0, made.stderr
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        tmp_path / "server.crt", tmp_path / "server.key"
    )
    words = ("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", tmp_path / "server.crt")
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1].strip() == name
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("host", [" ", "a b", "a;b", "a\nDNS:b", "$(id)", "a/b"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    made = generate(host, tmp_path / "certs")
    assert made.returncode == 2
    assert not (tmp_path / "certs").exists()


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    assert generate("a.example", tmp_path).returncode == 0
    before = (tmp_path / "server.key").read_bytes()
    again = generate("b.example", tmp_path)
    assert again.returncode == 1
    assert "remove it first" in again.stderr
    assert (tmp_path / "server.key").read_bytes() == before

"""nginx before gunicorn, by the configuration that is shipped, over TLS.

Each test asks from an address of its own: what one address may ask is bounded.
"""

import html
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.processes import Deployment, deployed
from tests.servers import LOOPBACK, NginxServer, find_nginx, free_port, missing_server
from tests.sites import HOST, PASSWORD, make_admin, prepare, shipped
from webapp.web.security import HEADERS, STRICT_TRANSPORT

pytestmark = pytest.mark.fault

PROBLEM: Final = "application/problem+json"
ALL_HEADERS: Final = HEADERS | dict([STRICT_TRANSPORT])


class Site:
    """A console behind nginx, asked as from outside."""

    def __init__(
        self, deployment: Deployment, nginx: NginxServer, plain_port: int, token: str
    ) -> None:
        self.deployment = deployment
        self.port = nginx.port
        self.plain_port = plain_port
        self.headers = {"Authorization": f"Bearer {token}"}
        self.trust = ssl.create_default_context(cafile=nginx.folder / "certs" / "server.crt")

    def client(self, address: str) -> httpx.Client:
        """A client that asks from this address of the loopback network."""
        transport = httpx.HTTPTransport(verify=self.trust, local_address=address)
        return httpx.Client(base_url=f"https://{HOST}:{self.port}", transport=transport, timeout=20)

    def ask(
        self, path: str, *, method: str = "GET", secure: bool = True, host: str | None = None
    ) -> HTTPResponse:
        """Ask for a path as it is written, without tidying it up."""
        connection: HTTPConnection = (
            HTTPSConnection(HOST, self.port, context=self.trust, timeout=20)
            if secure
            else HTTPConnection(HOST, self.plain_port, timeout=20)
        )
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or HOST)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A console behind nginx, with one admin."""
    program = find_nginx() or missing_server("nginx")
    console_port, plain_port = free_port(), free_port()

    def configure(folder: Path, port: int) -> str:
        prepare(folder)
        return shipped(folder, port, plain_port=plain_port, consoles=[str(console_port)])

    with deployed(
        tmp_path_factory.mktemp("console"),
        FORCE_HTTPS="true",
        TRUSTED_PROXIES="1",
        ALLOWED_HOSTS=HOST,
        ENVIRONMENT="production",
        # What nginx bounds is asked here.
        REQUEST_LIMITS="false",
    ) as deployment:
        token = make_admin(deployment)
        deployment.start_web(console_port)
        with NginxServer(program, configure) as nginx:
            yield Site(deployment, nginx, plain_port, token)


def by_application(answer: HTTPResponse | httpx.Response) -> bool:
    """Tell whether the application has given this answer: all of its own bear an id."""
    return "X-Request-ID" in answer.headers


def hardening_of(answer: HTTPResponse) -> dict[str, list[str] | None]:
    return {name: answer.headers.get_all(name) for name in ALL_HEADERS}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/flags?q=a%20b", "/static/css/base.css", "/api/v1/jobs"])
def test_plain_http_is_sent_to_the_same_address_over_https(
    site: Site, method: str, path: str
) -> None:
    answer = site.ask(path, method=method, secure=False)
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOST}{path}")


@pytest.mark.parametrize("path", ["/", "/sign-in", "/static/css/base.css"])
def test_plain_http_leads_to_no_name_but_our_own(site: Site, path: str) -> None:
    answer = site.ask(path, secure=False, host="evil.example")
    assert (answer.status, answer.headers["Location"]) == (400, None)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_are_answered_over_plain_http_and_by_address(site: Site, path: str) -> None:
    answer = site.ask(path, secure=False, host="10.0.0.7")
    assert by_application(answer)
    assert answer.status == 200
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/sign-in", "/nowhere", "/api/v1/nowhere", "/static/css/base.css", "/static/nowhere"]
)
def test_every_answer_over_tls_is_hardened_once(site: Site, path: str) -> None:
    assert hardening_of(site.ask(path)) == {name: [value] for name, value in ALL_HEADERS.items()}


def test_static_files_are_sent_by_nginx_and_kept_for_a_year(site: Site) -> None:
    page = site.ask("/sign-in")
    assert by_application(page)
    with site.client("127.0.0.10") as client:
        found = re.findall(r'(?:href|src)="(/static/[^"#]+)', client.get("/sign-in").text)
        assert len(found) > 5
        for path in found:
            answer = client.get(html.unescape(path))
            assert answer.status_code == 200, path
            assert not by_application(answer)
            kept = answer.headers.get_list("Cache-Control")
            assert kept == ["public, max-age=31536000, immutable"], path
        unnamed = client.get("/static/css/base.css")
        assert unnamed.headers.get_list("Cache-Control") == ["no-cache"]
        assert unnamed.headers["Content-Encoding"] == "gzip"
        assert "Cache-Control" not in client.get("/static/nowhere.css?v=1").headers
        assert "Content-Encoding" not in client.get("/sign-in").headers


@pytest.mark.parametrize(
    "path",
    ["/static/../wsgi.py", "/static/%2e%2e/nginx.conf", "/static/..%2fnginx.conf", "/static../x"],
)
def test_nothing_above_the_static_files_is_sent(site: Site, path: str) -> None:
    assert site.ask(path).status in {302, 400, 404}


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/./metrics",
        "/flags/../metrics",
        "/%6detrics",
        "/metrics?x=1",
        "/observability/metrics",
        "/observability/metrics/json",
    ],
)
@pytest.mark.parametrize("secure", [True, False])
def test_metrics_are_not_told_outside(site: Site, path: str, *, secure: bool) -> None:
    answer = site.ask(path, secure=secure)
    assert answer.status == 404
    assert not by_application(answer)


def sign_in(client: httpx.Client, **headers: str) -> httpx.Response:
    """Fill the form in and send it, as a browser does."""
    page = client.get("/sign-in")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    fields = {"username": "ada", "password": PASSWORD, "csrf_token": html.unescape(token[1])}
    headers = {"Referer": str(page.url)} | headers
    return client.post("/sign-in", data=fields | {"next": "/flags"}, headers=headers)


def test_a_person_signs_in_and_the_cookie_is_for_https_alone(site: Site) -> None:
    with site.client("127.0.0.11") as client:
        entered = sign_in(client)
        assert (entered.status_code, entered.headers["Location"]) == (303, "/flags")
        cookie = entered.headers["Set-Cookie"]
        assert all(flag in cookie for flag in ("; Secure", "; HttpOnly", "; SameSite=Lax"))
        assert client.get("/flags").status_code == 200


def test_the_application_is_told_who_asks_and_not_who_says_so(site: Site) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
    }
    with site.client("127.0.0.12") as client:
        assert sign_in(client, **claims).status_code == 303
    log = site.deployment.log("web")
    assert '"address":"127.0.0.12"' in log
    assert "203.0.113.9" not in log


def test_a_name_that_is_not_ours_is_refused(site: Site) -> None:
    answer = site.ask("/sign-in", host="evil.example")
    assert answer.status == 400
    assert by_application(answer)


def test_bodies_arrive_whole(site: Site) -> None:
    with site.client("127.0.0.13") as client:
        for path, size, status in (
            ("/api/v1/feature-flags", 0, 201),
            ("/api/v1/feature-flags", 1_000_000, 422),
            ("/api/v1/feature-flags", 1_100_000, 413),
            ("/api/v1/feature-flags/import", 20_000_000, 422),
            ("/api/v1/feature-flags/import", 40_000_000, 413),
            ("/api/v1/feature-flags/import/unleash", 20_000_000, 422),
        ):
            body = {"name": "beta", "description": "x" * size}
            answer = client.post(path, headers=site.headers, json=body)
            assert answer.status_code == status, answer.text[:200]
            assert answer.is_success or answer.headers["Content-Type"] == PROBLEM


@pytest.mark.parametrize("size", [900_000, 8_000_000])
def test_whoever_is_refused_before_the_body_was_read_is_told_so(site: Site, size: int) -> None:
    with site.client("127.0.0.17") as client:
        for _ in range(8):
            answer = client.post("/api/v1/feature-flags/import", json="x" * size)
            assert answer.status_code == 401


def test_tries_to_sign_in_are_bounded_by_address(site: Site) -> None:
    with site.client("127.0.0.14") as client, site.client("127.0.0.15") as other:
        answers = [client.post("/sign-in", data={}) for _ in range(9)]
        assert [answer.status_code for answer in answers[:6]] == [400] * 6
        assert answers[-1].status_code == 429
        assert answers[-1].headers["Retry-After"] == "6"
        assert not by_application(answers[-1])
        # Looking at the form is no try, and what one does is not another's fault.
        assert client.get("/sign-in").status_code == 200
        assert other.post("/sign-in", data={}).status_code == 400


def statuses_at_once(site: Site, address: str, path: str, number: int) -> list[int]:
    """Ask so often in one moment, each time on a connection of its own."""
    head = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Length: 0", "Connection: close"]
    plain = [
        socket.create_connection((LOOPBACK, site.port), 20, source_address=(address, 0))
        for _ in range(number)
    ]
    secured = [site.trust.wrap_socket(one, server_hostname=HOST) for one in plain]
    for one in secured:
        one.sendall("\r\n".join([*head, "", ""]).encode())
    answers = []
    for one in secured:
        answer = HTTPResponse(one)
        answer.begin()
        answers.append(answer)
        one.close()
    told = [answer for answer in answers if answer.status == 429]
    assert all(answer.headers["Content-Type"] == PROBLEM for answer in told)
    assert all(answer.headers["Retry-After"] == "6" for answer in told)
    return [answer.status for answer in answers]


def test_calls_of_the_api_are_bounded_by_address_and_evaluations_are_not(site: Site) -> None:
    asked = statuses_at_once(site, "127.0.0.16", "/api/v1/feature-flags", 170)
    assert set(asked) == {401, 429}
    assert asked.count(401) > 100
    path = "/api/v1/feature-flags/beta/evaluate"
    assert set(statuses_at_once(site, "127.0.0.16", path, 130)) == {401}


def test_old_versions_of_tls_are_refused(site: Site) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((LOOPBACK, site.port)) as plain,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
    ):
        old.wrap_socket(plain)


def test_gunicorn_alone_is_strict_and_believes_no_header(site: Site) -> None:
    port = free_port()
    process = site.deployment.start_web(port, processes=1, HTTPS_STRICT="true", TRUSTED_PROXIES="0")
    url = f"http://{HOST}:{port}"
    for headers in ({}, {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on"}):
        refused = httpx.get(f"{url}/api/v1/feature-flags", headers=headers)
        assert refused.status_code == 403
        assert refused.headers["Content-Type"] == PROBLEM
    assert httpx.get(f"{url}/health").status_code == 200
    site.deployment.end(process)


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Le",
        (
            b"POST /sign-in HTTP/1.1\r\nHost: %b\r\nContent-Length: 9\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nuse"
        ),
    ],
    ids=["header", "body"],
)
def test_clients_that_fall_silent_hold_no_thread_of_gunicorn(site: Site, begun: bytes) -> None:
    port = free_port()
    process = site.deployment.start_web(port, processes=1, WEB_THREADS="2", RECEIVE_TIMEOUT="1")
    with ExitStack() as open_connections:
        for _ in range(2):
            connection = socket.create_connection((LOOPBACK, port), timeout=20)
            open_connections.enter_context(connection).sendall(begun.replace(b"%b", HOST.encode()))
        assert httpx.get(f"http://{LOOPBACK}:{port}/health", timeout=20).status_code == 200
    site.deployment.end(process)

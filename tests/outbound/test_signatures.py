"""Signatures, checked by others than our own code: openssl, a vector, the docs' receiver."""

import base64
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SECRET, make_settings
from webapp.outbound.signatures import keys_of, secret_in_force, signed_headers
from webapp.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))
GIVEN = "whsec_" + base64.b64encode(KEY).decode()


def receiver() -> Any:
    """The function that the documentation tells receivers to use."""
    page = (ROOT / "docs" / "callbacks.md").read_text()
    found: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0], found)  # noqa: S102
    return found["is_genuine"]


def test_the_vector_of_standard_webhooks() -> None:
    # https://github.com/standard-webhooks/standard-webhooks, the libraries' own tests
    keys = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', timestamp=1614265330
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_openssl_comes_to_the_same_signature() -> None:
    headers = signed_headers([KEY], "msg_1", b'{"a":1}', timestamp=1_700_000_000)
    done = subprocess.run(
        [
            *("openssl", "dgst", "-sha256", "-binary", "-mac", "HMAC"),
            *("-macopt", f"hexkey:{KEY.hex()}"),
        ],
        input=b'msg_1.1700000000.{"a":1}',
        capture_output=True,
        check=True,
    )
    assert headers["webhook-signature"] == "v1," + base64.b64encode(done.stdout).decode()


@given(st.binary(max_size=200))
def test_a_receiver_takes_what_is_ours_and_nothing_else(body: bytes) -> None:
    is_genuine = receiver()
    headers = signed_headers([KEY], "msg_1", body, timestamp=int(time.time()))
    assert is_genuine(headers, body, GIVEN)
    assert not is_genuine(headers, body + b" ", GIVEN)
    assert not is_genuine(headers | {"webhook-id": "msg_2"}, body, GIVEN)
    assert not is_genuine(headers, body, "whsec_" + base64.b64encode(KEY[::-1]).decode())
    old = signed_headers([KEY], "msg_1", body, timestamp=int(time.time()) - 3600)
    assert not is_genuine(old, body, GIVEN)


def test_a_secret_can_be_exchanged_while_both_are_good() -> None:
    other = "whsec_" + base64.b64encode(KEY[::-1]).decode()
    headers = signed_headers(
        keys_of(f"{GIVEN}, {other}"), "msg_1", b"{}", timestamp=int(time.time())
    )
    assert receiver()(headers, b"{}", GIVEN)
    assert receiver()(headers, b"{}", other)


def test_without_a_secret_of_its_own_each_installation_has_another() -> None:
    first, second = (secret_in_force("", f"{number}" * 32) for number in (1, 2))
    assert first != second
    assert first == secret_in_force("", "1" * 32)
    assert [len(key) for key in keys_of(first)] == [32]
    assert secret_in_force(GIVEN, "1" * 32) == GIVEN


def test_the_secret_in_force_is_printed(app: Flask) -> None:
    done = app.test_cli_runner().invoke(args=["callback-secret"])
    assert done.output.strip() == secret_in_force("", SECRET)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (GIVEN, True),
        (f"{GIVEN},{GIVEN}", True),
        ("whsec_" + base64.b64encode(bytes(24)).decode(), True),
        ("whsec_" + base64.b64encode(bytes(64)).decode(), True),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), False),
        ("whsec_" + "=" * 44, False),
        (GIVEN.removeprefix("whsec_"), False),
        (f"{GIVEN},short", False),
        (f"{GIVEN},", False),
    ],
)
def test_a_secret_must_be_one(tmp_path: Path, text: str, *, good: bool) -> None:
    if good:
        assert all(keys_of(make_settings(tmp_path, CALLBACK_SECRET=text).callback_secret))
    else:
        with pytest.raises(SettingsError, match="CALLBACK_SECRET"):
            make_settings(tmp_path, CALLBACK_SECRET=text)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("Hooks.internal, 10.0.0.7:8080", ("hooks.internal", "10.0.0.7:8080")),
        ("[fd00::1]:80", ("[fd00::1]:80",)),
        ("http://hooks.internal", None),
        ("*.internal", None),
        ("10.0.0.0/8", None),
    ],
)
def test_allowed_hosts_are_names_with_or_without_a_port(
    tmp_path: Path, text: str, hosts: tuple[str, ...] | None
) -> None:
    if hosts is None:
        with pytest.raises(SettingsError, match="OUTBOUND_ALLOW_HOSTS"):
            make_settings(tmp_path, OUTBOUND_ALLOW_HOSTS=text)
    else:
        assert make_settings(tmp_path, OUTBOUND_ALLOW_HOSTS=text).outbound_allow_hosts == hosts

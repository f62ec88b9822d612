"""What an access token is read as: what was signed, or nothing."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.accounts.signatures import (
    AUDIENCE,
    ISSUER,
    LIFETIME,
    claims_for,
    looks_signed,
    read,
    sign,
    signing_key,
)
from webapp.roles import Role

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = signing_key("a secret that only tests know, and it is long enough")
SECOND = timedelta(seconds=1)


def good_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "7",
        "role": "viewer",
        "epoch": 1,
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + LIFETIME).timestamp()),
        "jti": "a",
    }


def signed(said: dict[str, Any], key: bytes = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(said, key, algorithm=algorithm)


@given(
    user_id=st.integers(1, 2**63 - 1),
    role=st.sampled_from(Role),
    epoch=st.integers(1, 2**31 - 1),
    now=st.integers(0, 10**16).map(lambda after: NOW + timedelta(microseconds=after)),
    token_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=32),
)
def test_what_is_signed_is_read_until_it_runs_out_and_not_after(
    user_id: int, role: Role, epoch: int, now: datetime, token_id: str
) -> None:
    claims = claims_for(user_id, role=role, epoch=epoch, now=now, token_id=token_id)
    text = sign(claims, KEY)
    assert looks_signed(text)
    assert read(text, KEY, now=now) == claims
    assert read(text, KEY, now=claims.expires_at - SECOND / 1000) == claims
    assert read(text, KEY, now=claims.expires_at) is None


@given(st.text(max_size=300))
def test_what_nobody_signed_is_nothing(text: str) -> None:
    assert read(text, KEY, now=NOW) is None


@given(place=st.integers(0, 10_000), letter=st.sampled_from("ABCxyz019-_."))
def test_a_token_that_was_changed_anywhere_is_nothing(place: int, letter: str) -> None:
    claims = claims_for(7, role=Role.VIEWER, epoch=1, now=NOW, token_id="a")
    text = sign(claims, KEY)
    place %= len(text) - 1  # the last character carries two bits that no byte has
    changed = text[:place] + letter + text[place + 1 :]
    assert (read(changed, KEY, now=NOW) is None) == (changed != text)


def test_the_good_claims_of_these_tests_are_good() -> None:
    assert read(signed(good_claims()), KEY, now=NOW) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "somebody"},
        {"aud": "another-api"},
        {"aud": [AUDIENCE[:-1]]},
        {"sub": "not a number"},
        {"sub": ""},
        {"role": "emperor"},
        {"role": None},
        {"epoch": "many"},
        {"epoch": None},
        {"iat": int((NOW + timedelta(minutes=2)).timestamp())},
        {"iat": "today"},
        {"exp": int(NOW.timestamp())},
        {"exp": 10**30},
        {"exp": None},
    ],
    ids=str,
)
def test_claims_that_do_not_fit_are_nothing(change: dict[str, Any]) -> None:
    assert read(signed(good_claims() | change), KEY, now=NOW) is None


@pytest.mark.parametrize("name", list(good_claims()))
def test_a_claim_that_is_absent_makes_it_nothing(name: str) -> None:
    said = good_claims()
    del said[name]
    assert read(signed(said), KEY, now=NOW) is None


def test_an_unsigned_token_is_nothing() -> None:
    text = jwt.encode(good_claims(), "", algorithm="none")
    assert read(text, KEY, now=NOW) is None
    # Nor one that claims so and bears a good signature of another algorithm.
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    forged = ".".join([header.rstrip(b"=").decode(), *signed(good_claims()).split(".")[1:]])
    assert read(forged, KEY, now=NOW) is None


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_another_algorithm_with_the_same_key_is_nothing(algorithm: str) -> None:
    assert read(signed(good_claims(), algorithm=algorithm), KEY, now=NOW) is None


def test_another_key_signs_nothing() -> None:
    other = signing_key("another secret, and it is long enough as well, is it not")
    assert read(signed(good_claims(), other), KEY, now=NOW) is None


def test_the_secret_itself_is_not_the_key() -> None:
    secret = "a secret that only tests know, and it is long enough"
    assert read(signed(good_claims(), secret.encode()), KEY, now=NOW) is None


@pytest.mark.parametrize("text", ["swy_abc", "a.b", "a.b.c.d", ""])
def test_an_api_token_does_not_look_signed(text: str) -> None:
    assert not looks_signed(text)

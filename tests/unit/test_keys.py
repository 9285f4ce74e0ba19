"""API keys: kept as hashes, found in constant time, never quoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.limits import KeyLimits
from serve_app.errors import ConfigError
from serve_app.keys import PREFIX, ApiKey, KeyRing, digest_of, new_key, parse_keys

ADA, BOB = new_key(), new_key()


def entry(name: str, key: str, more: str = "") -> str:
    return f"  - name: {name}\n    sha256: {digest_of(key).hex()}\n{more}"


FILE = (
    "keys:\n"
    + entry("ada", ADA, "    admin: true\n")
    + entry("bob", BOB, "    limits: {requests_per_minute: 3}\n")
)


def test_a_file_gives_its_keys() -> None:
    ring = KeyRing(parse_keys(FILE))
    assert len(ring) == 2
    ada, bob = ring.find(ADA), ring.find(BOB)
    assert ada is not None
    assert (ada.name, ada.admin) == ("ada", True)
    assert bob is not None
    assert bob.limits == KeyLimits(requests_per_minute=3)
    assert ADA not in FILE


def test_keys_are_long_random_and_recognisable() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(PREFIX) and len(key) >= 43 for key in keys)


@given(st.text())
def test_nothing_else_is_a_key(token: str) -> None:
    ring = KeyRing(parse_keys(FILE))
    assert ring.find(token) is None
    assert ring.find(ADA + token) == (None if token else ring.find(ADA))


def test_a_key_is_found_wherever_it_stands() -> None:
    tokens = [new_key() for _ in range(20)]
    ring = KeyRing(
        ApiKey(str(at), digest_of(token), False, KeyLimits()) for at, token in enumerate(tokens)
    )
    found = [ring.find(token) for token in tokens]
    assert [key and key.name for key in found] == [str(at) for at in range(20)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keys: 5",
        "keys:\n  - name: x\n    key: SECRET",
        "keys:\n  - name: x\n    sha256: SECRET",
        "SECRET: [",
        FILE + entry("ada", new_key()),
        FILE + entry("eve", ADA),
        "keys:\n" + entry("x", ADA, "    limits: {requests_per_minute: 0}\n"),
        "keys:\n" + entry("x\\n", ADA, "    nope: 1\n"),
    ],
)
def test_a_wrong_file_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_keys(text)
    assert "SECRET" not in str(caught.value)
    assert digest_of(ADA).hex() not in str(caught.value)

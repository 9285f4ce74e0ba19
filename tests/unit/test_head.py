"""Heads of requests: what is too large, or never ends, is stopped where it is read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import pytest
from uvicorn.protocols.http import auto

from serve_app.access import Access
from serve_app.ingress import head
from serve_app.ingress.http import create_app
from serve_app.local import RAY_ENVIRONMENT
from tests.browser.serving import serving
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import service

LARGE = head.MAX_HEAD_BYTES
BEGIN = b"GET /healthz HTTP/1.1\r\nhost: here\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A service whose server was chosen as in a proxy of Serve's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)  # put back afterwards
        assert head.install() == []
        with serving(lambda _url: create_app(service(FakeReplicas()), Access())) as served:
            yield served.port


def asked(port: int, parts: Iterable[bytes]) -> bytes:
    """What is answered to all that can be sent of *parts*, up to the end of the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while data := connection.recv(65536):
                answer += data
        except ConnectionError:  # closed while there was more to send
            pass
    return answer


def told(answer: bytes) -> tuple[int, dict[str, Any]]:
    """Status and error of an answer."""
    start, _, body = answer.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize(
    "more",
    [b"x: " + b"y" * LARGE + b"\r\n\r\n", b"x: y\r\n" * (LARGE // 4) + b"\r\n"],
    ids=["one", "many"],
)
def test_a_whole_head_beyond_the_bound_is_refused_by_the_gate(port: int, more: bytes) -> None:
    status, error = told(asked(port, [BEGIN, more]))
    assert (status, error["code"]) == (431, "head_too_large")


def test_a_long_address_is_refused_too(port: int) -> None:
    line = b"GET /healthz?" + b"a" * (LARGE - 100) + b" HTTP/1.1\r\nhost: here\r\n"
    assert told(asked(port, [line, b"x: " + b"y" * 100 + b"\r\n\r\n"]))[0] == 431


@pytest.mark.parametrize("block", [b"y" * 1000, b"y: z\r\n" * 200], ids=["one", "many"])
def test_a_head_without_an_end_is_cut_off_soon(port: int, block: bytes) -> None:
    # The answer may be lost where the client goes on sending; the end of the connection is not.
    answer = asked(port, endless(BEGIN + b"x: ", block))
    assert answer == b"" or told(answer)[0] == 431
    assert asked(port, [BEGIN, b"connection: close\r\n\r\n"]).startswith(b"HTTP/1.1 200")


def endless(first: bytes, then: bytes) -> Iterator[bytes]:
    """*first*, and more behind it than sockets keep for who does not read."""
    yield first
    for _ in range(64 * 2**20 // len(then)):
        yield then
    pytest.fail("it goes on and on")


def test_trailers_without_an_end_are_cut_off_too(port: int) -> None:
    begin = b"POST /v1/audio/speech HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
    asked(port, endless(begin + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 200))


def test_a_large_body_behind_a_small_head_is_no_head(port: int) -> None:
    body = json.dumps({"model": "fake-1", "voice": "alto", "input": "x" * 4 * LARGE}).encode()
    begin = b"POST /v1/audio/speech HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
    begin += b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    status, error = told(asked(port, [begin, body]))
    assert (status, error["code"]) == (413, "input_too_long")


def test_a_head_that_does_not_come_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "HEAD_TIMEOUT_S", 0.05)
    assert told(asked(port, [BEGIN]))[1]["code"] == "head_timeout"
    assert asked(port, []) == b""


def test_serve_is_told_of_it_here() -> None:
    module, _, function = RAY_ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].partition(
        ":"
    )
    assert getattr(import_module(module), function) is head.install

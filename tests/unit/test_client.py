"""The command line's client against servers that leave at the wrong moment."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve_app.client import Client
from serve_app.errors import NotReadyError, ServeError

BEGINNING = (
    b"HTTP/1.1 200 OK\r\nx-request-id: asked\r\ntransfer-encoding: chunked\r\n\r\n4\r\nRIFF\r\n"
)
OUTCOME = json.dumps({"error": "the card fell off"}).encode()
TOLD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(OUTCOME), OUTCOME)


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that answers one connection after another and closes each."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_a_server_that_closes_before_it_answers_is_told_as_such(tmp_path: Path) -> None:
    with (
        answering(b"") as url,
        Client(url) as client,
        pytest.raises(NotReadyError, match="closed the connection before it answered"),
    ):
        client.speak({"input": "x"}, tmp_path / "a.wav")


def test_a_stream_that_breaks_off_tells_why_and_leaves_its_beginning(tmp_path: Path) -> None:
    with (
        answering(BEGINNING, TOLD) as url,
        Client(url) as client,
        pytest.raises(ServeError, match="broke off: the card fell off"),
    ):
        client.speak({"input": "x"}, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == b"RIFF"

"""The service as ``vibevoice-serve serve`` starts it, behind HAProxy: a cluster of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
import yaml

from serve_app.core.audio import BYTES_PER_S
from serve_app.transport import best_transport
from tests.integration.conftest import application
from tests.integration.test_service import wait_until
from tests.processes import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here"),
]

LONG = "There was once a sentence that went on and on, and nobody could stop it. " * 600
SETTINGS = {
    "engine": {
        "kind": "simulated",
        "slots": 4,
        "options": {"first_chunk_s": 0.02, "real_time_factor": 0.001},
    },
    "cards": "none",
    "replicas": 1,
    "replica_cpus": 0.5,
    "access": {"keys": "off"},
    "speech": {"max_input_characters": 100_000},
}
_START_S = 150.0
_MOST_UNREAD_S = 600.0
"""What sockets on the way may hold, at twice the most that Linux gives them."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("haproxy")
    config, port, log = folder / "config.yaml", free_port(), folder / "log"
    config.write_text(yaml.safe_dump({"applications": [application("vibevoice", "/", SETTINGS)]}))
    command = [Path(sys.executable).parent / "vibevoice-serve", "serve", "--config", config]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_ADDRESS": ""},
        )
    try:
        until_s = time.monotonic() + _START_S
        while b"Listening on" not in log.read_bytes() and process.poll() is None:
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        assert b"stands in" not in log.read_bytes()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


def test_an_openai_client_works_unchanged(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    for audio_format in ("wav", "pcm", "mp3"):
        answer = client.audio.speech.create(
            model="tts-1", voice="auto", input="Good morning.", response_format=audio_format
        )
        assert len(answer.content) > 1000
    with pytest.raises(openai.BadRequestError):
        client.audio.speech.create(model="tts-1", voice="nobody", input="Good morning.")


def _begun(url: str, name: str) -> socket.socket:
    """A listener that has asked and reads nothing."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(
        {"model": "tts-1", "voice": "auto", "response_format": "pcm", "input": LONG}
    ).encode()
    head = (
        f"POST /v1/audio/speech HTTP/1.1\r\nhost: x\r\nx-request-id: {name}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    listener = socket.create_connection((host, int(port)), timeout=20)
    listener.sendall(head.encode() + body)
    return listener


def test_what_nobody_reads_is_not_spoken_and_who_leaves_is_gone(url: str) -> None:
    with httpx.Client(base_url=url, timeout=20) as http:

        def told() -> dict[str, object]:
            return http.get("/v1/audio/speech/slow").json()

        with _begun(url, "slow"):
            sent_s: list[float] = []

            def stands_still() -> bool:
                sent_s.append(float(str(told().get("audio_s", 0.0))))
                return len(sent_s) > 15 and sent_s[-1] == sent_s[-15] > 0.0

            wait_until(stands_still)
            assert told()["status"] == "running"
            assert sent_s[-1] < _MOST_UNREAD_S
            assert sent_s[-1] * BYTES_PER_S < 32 * 2**20
        wait_until(lambda: told()["status"] == "cancelled")

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
from typing import Any

import httpx
import openai
import pytest
import yaml

from serve_app.core.audio import BYTES_PER_S
from serve_app.transport import best_transport
from telemetry.otel import TRACE_DIR
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
def spans_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service writes its spans."""
    return tmp_path_factory.mktemp("spans")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, spans_folder: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("haproxy")
    config, port, log = folder / "config.yaml", free_port(), folder / "log"
    config.write_text(yaml.safe_dump({"applications": [application("vibevoice", "/", SETTINGS)]}))
    command: list[str | Path] = [
        Path(sys.executable).parent / "vibevoice-serve",
        "serve",
        "--config",
        config,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_ADDRESS": "", TRACE_DIR: str(spans_folder)},
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
            answer: dict[str, object] = http.get("/v1/audio/speech/slow").json()
            return answer

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


def test_a_trace_begins_at_haproxy_or_at_its_caller_and_is_whole(
    url: str, spans_folder: Path
) -> None:
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"model": "tts-1", "voice": "auto", "response_format": "pcm", "input": "Good morning."}
    for headers in ({}, {"traceparent": caller}):
        answer = httpx.post(f"{url}/v1/audio/speech", json=body, headers=headers, timeout=30)
        path = f"{url}/v1/audio/speech/{answer.headers['x-request-id']}"
        trace_id = httpx.get(path, timeout=30).json()["trace_id"]

        def proxies(trace_id: str = trace_id) -> list[dict[str, Any]]:
            """HAProxy's span, once everything else of the trace is below it."""
            spans = spans_of(spans_folder, trace_id)
            above = [span for span in spans.values() if span["parent_id"] not in spans]
            names = {span["name"].split()[0] for span in spans.values()}
            whole = {"haproxy", "speech", "segment", "text_to_speech"} <= names and len(above) == 1
            return above if whole else []

        wait_until(proxies)
        (proxy,) = proxies()
        assert proxy["name"] == "haproxy POST"
        assert proxy["start_time"] == min(
            span["start_time"] for span in spans_of(spans_folder, trace_id).values()
        )
        if headers:
            assert [trace_id, proxy["parent_id"]] == [
                caller.split("-")[1],
                f"0x{caller.split('-')[2]}",
            ]
        else:
            assert proxy["parent_id"] is None


def spans_of(folder: Path, trace_id: str) -> dict[str, dict[str, Any]]:
    """The spans of a trace that have been written, by id."""
    lines = [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
    spans = [json.loads(line) for line in lines]
    return {
        span["context"]["span_id"]: span
        for span in spans
        if span["context"]["trace_id"].removeprefix("0x") == trace_id
    }

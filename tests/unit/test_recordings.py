"""The studio's recordings over a service that the test plays."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.errors import InvalidInputError, OverloadedError
from serve_app.ui.recordings import Order, Recording, Recordings
from serve_app.ui.speech_api import SpeechApi

ORDER = Order("Hello there.", {"Ann": "alto"}, "mp3")
PROGRESS = {
    "segments": 3,
    "segments_done": 1,
    "estimated_s": 9.0,
    "audio_s": 3.0,
    "elapsed_s": 1.0,
    "first_audio_s": 0.2,
    "retries": 0,
    "error": None,
}


@dataclass
class Stage(httpx.AsyncBaseTransport):
    """The service: what is put in ``audio`` leaves; None ends the answer, an error breaks it."""

    audio: asyncio.Queue[bytes | Exception | None] = field(default_factory=asyncio.Queue)
    status: str = "complete"
    error: str | None = None
    refusal: httpx.Response | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "fake-1"}, {"id": "tts-1"}]})
        if path == "/v1/audio/voices":
            voices = [
                {"id": "alto", "name": "Anna", "languages": ["en"], "alias_of": None},
                {"id": "alloy", "name": "Anna", "languages": ["en"], "alias_of": "alto"},
            ]
            return httpx.Response(200, json={"data": voices})
        if path == "/v1/audio/speech":
            return await self._speech(request)
        body = {**PROGRESS, "status": self.status, "error": self.error}
        return httpx.Response(200, json=body)

    async def _speech(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(httpx.Response(200, content=await request.aread()).json())
        if self.refusal is not None:
            return self.refusal
        headers = {"x-request-id": "req_1", "x-segments": "3"}
        return httpx.Response(200, headers=headers, stream=_Stream(self))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := await self._stage.audio.get()) is not None:
            if isinstance(data, Exception):
                raise data
            yield data

    async def aclose(self) -> None:
        self._stage.left.set()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.fixture
async def recordings(stage: Stage) -> AsyncIterator[Recordings]:
    made = Recordings(SpeechApi("http://service", stage), limit=2)
    yield made
    await made.close()


def files_beside(recording: Recording) -> list[Path]:
    return list(recording.path.parent.glob("*"))


async def ended(recording: Recording) -> None:
    async with asyncio.timeout(20):
        while not recording.status.ended:
            await recording.changed(1.0)


async def grown(recording: Recording, size: int) -> None:
    async with asyncio.timeout(20):
        while recording.status.size < size:
            await recording.changed(1.0)


async def test_a_listener_hears_the_file_grow(stage: Stage, recordings: Recordings) -> None:
    recording = await recordings.start("page", ORDER)
    stage.audio.put_nowait(b"first ")
    await grown(recording, 6)
    early = recording.listen()
    assert await anext(early) == b"first "
    begun = recording.status.state
    stage.audio.put_nowait(b"second")
    assert await anext(early) == b"second"
    stage.audio.put_nowait(None)
    assert [data async for data in early] == []
    await ended(recording)
    assert (begun, recording.status.state) == ("speaking", "complete")
    assert b"".join([data async for data in recording.listen()]) == b"first second"
    assert recording.path.read_bytes() == b"first second"
    assert stage.asked == [
        {
            "model": "fake-1",
            "input": "Hello there.",
            "voice": "auto",
            "speakers": {"Ann": "alto"},
            "response_format": "mp3",
        }
    ]


async def test_a_wav_gets_its_true_length_at_the_end(stage: Stage, recordings: Recordings) -> None:
    recording = await recordings.start("page", Order("Hello.", {}, "wav"))
    for data in (b"\1\0" * 1000, b"\2\0" * 500, None):
        stage.audio.put_nowait(data)
    await ended(recording)
    assert stage.asked[0]["response_format"] == "pcm"
    content = recording.path.read_bytes()
    with wave.open(io.BytesIO(content)) as file:
        assert file.getnframes() == 1500
        assert file.readframes(1500) == b"\1\0" * 1000 + b"\2\0" * 500
    assert int.from_bytes(content[4:8], "little") == len(content) - 8


async def test_stopping_leaves_the_service_and_keeps_what_was_heard(
    stage: Stage, recordings: Recordings
) -> None:
    recording = await recordings.start("page", ORDER)
    stage.audio.put_nowait(b"first ")
    await grown(recording, 6)
    await recordings.stop("page")
    assert recording.status.state == "stopped"
    assert stage.left.is_set()
    assert b"".join([data async for data in recording.listen()]) == b"first "


async def test_a_new_order_of_a_page_replaces_its_old_one(
    stage: Stage, recordings: Recordings
) -> None:
    old = await recordings.start("page", ORDER)
    stage.audio.put_nowait(b"first ")
    await grown(old, 6)
    new = await recordings.start("page", ORDER)
    assert old.status.state == "stopped"
    assert not old.path.exists()
    assert recordings.find(old.key) is None
    assert recordings.find(new.key) is new


async def test_only_so_many_are_kept(stage: Stage, recordings: Recordings) -> None:
    first = await recordings.start("a", ORDER)
    await recordings.start("b", ORDER)
    with pytest.raises(OverloadedError, match="2 recordings"):
        await recordings.start("c", ORDER)
    await recordings.stop("a")
    third = await recordings.start("c", ORDER)
    assert recordings.find(first.key) is None
    assert not first.path.exists()
    assert recordings.find(third.key) is third


@pytest.mark.parametrize("end", [None, httpx.RemoteProtocolError("cut")])
async def test_a_speech_that_is_not_whole_fails_with_the_services_reason(
    stage: Stage, recordings: Recordings, end: Exception | None
) -> None:
    stage.status, stage.error = "failed", "segment 2 could not be spoken: 'Hello'"
    recording = await recordings.start("page", ORDER)
    stage.audio.put_nowait(b"first ")
    stage.audio.put_nowait(end)
    await ended(recording)
    assert recording.status.state == "failed"
    assert "segment 2 could not be spoken" in (recording.status.error or "")


async def test_a_refusal_is_the_services_own_message(stage: Stage, recordings: Recordings) -> None:
    stage.refusal = httpx.Response(400, json={"error": {"message": "Voice 'x' does not exist"}})
    recording = await recordings.start("page", ORDER)
    await ended(recording)
    assert recording.status.error == "Voice 'x' does not exist"
    assert b"".join([data async for data in recording.listen()]) == b""


async def test_closing_removes_every_file(stage: Stage) -> None:
    made = Recordings(SpeechApi("http://service", stage), limit=2)
    recording = await made.start("page", ORDER)
    stage.audio.put_nowait(b"first ")
    await grown(recording, 6)
    assert len(files_beside(recording)) == 1
    await made.close()
    assert recording.status.state == "stopped"
    assert files_beside(recording) == []


async def test_voices_leave_aliases_out(stage: Stage) -> None:
    api = SpeechApi("http://service", stage)
    assert await api.voices() == (("Anna (en)", "alto"),)
    await api.close()


async def test_an_answer_that_is_no_json_is_still_an_error_of_ours(stage: Stage) -> None:
    stage.refusal = httpx.Response(404, text="<html>not here</html>")
    api = SpeechApi("http://service", stage)
    with pytest.raises(InvalidInputError, match="answered 404"):
        async with api.speak("Hello.", {}, "mp3"):
            raise AssertionError("it was refused")
    await api.close()

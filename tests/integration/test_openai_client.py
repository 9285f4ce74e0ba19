"""OpenAI's own client against the running service: every call it has for speech, unchanged."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest

from serve_app.engines.simulated_code import segments_heard
from tests.integration.conftest import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SCENE = "\n".join(
    f"{('Lily', 'Jeyes')[n % 2]}: Turn {n} of a scene in which nobody lets anybody finish."
    for n in range(30)
)


@pytest.fixture
def piper(cluster: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{cluster.piper_url}/v1", api_key="unused", max_retries=0
    ) as client:
        yield client


@pytest.fixture
def simulated(cluster: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
async def asynchronous(cluster: Cluster) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{cluster.piper_url}/v1", api_key="unused", max_retries=0
    ) as client:
        yield client


def seconds_of(data: bytes, audio_format: str) -> float:
    if audio_format == "pcm":
        return len(data) / 48_000
    with av.open(io.BytesIO(data), "r") as container:
        (stream,) = container.streams.audio
        return sum(frame.samples for frame in container.decode(stream)) / stream.rate


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_create_in_every_format(piper: openai.OpenAI, audio_format: Any) -> None:
    answer = piper.audio.speech.create(
        model="tts-1", voice="alloy", input="Good morning to you.", response_format=audio_format
    )
    assert answer.response.headers["x-ai-generated"] == "true"
    assert answer.response.headers["x-speakers"] == "Narrator=joe"
    assert 0.8 < seconds_of(answer.content, audio_format) < 3.0


def test_every_parameter_and_extension(piper: openai.OpenAI, cluster: Cluster) -> None:
    def spoken(**more: Any) -> openai.HttpxBinaryResponseContent:
        extra = {"seed": 3, "language": "en", "priority": "batch", "speakers": {"Bob": "onyx"}}
        return piper.audio.speech.create(
            model="gpt-4o-mini-tts",
            voice={"id": "nova"},
            input="Ann: It is 7:30 ☺.\nBob: And I have $5.",
            response_format="pcm",
            instructions="",
            extra_body={**extra, **more.pop("extra_body", {})},
            **more,
        )

    usual, fast = spoken(), spoken(speed=2.0)
    assert len(fast.content) // 2 == round(len(usual.content) / 4)
    assert usual.response.headers["x-speakers"] == "Ann=joe-light,Bob=joe-deep"
    assert usual.response.headers["x-unspoken-characters"] == "1"
    request_id = usual.response.headers["x-request-id"]
    told = httpx.get(f"{cluster.piper_url}/v1/audio/speech/{request_id}").json()
    assert (told["finish_reason"], told["truncated"]) == ("stop", False)
    assert told["text"]["normalised"] == {"time": 1, "money": 1}
    assert spoken(extra_body={"seed": 4}).content != usual.content
    assert spoken(extra_body={"normalise": False}).content != usual.content
    for refused in ({"cfg_scale": 1.3}, {"language": "zh"}, {"colour": "red"}):
        with pytest.raises(openai.BadRequestError, match=next(iter(refused))):
            spoken(extra_body=refused)
    with pytest.raises(openai.BadRequestError, match="instructions"):
        piper.audio.speech.create(
            model="tts-1", voice="alloy", input="Hello.", instructions="Whisper."
        )


def test_streaming_response(simulated: openai.OpenAI) -> None:
    with simulated.audio.speech.with_streaming_response.create(
        model="tts-1", voice="auto", input=SCENE, response_format="pcm"
    ) as stream:
        chunks = list(stream.iter_bytes())
    assert len(chunks) > 2
    heard = segments_heard(np.frombuffer(b"".join(chunks), "<i2"))
    assert [segment.tag for segment in heard] == list(range(len(heard)))
    assert all(segment.complete for segment in heard)


def events_of(client: openai.OpenAI, text: str) -> list[dict[str, Any]]:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="auto", input=text, response_format="pcm", stream_format="sse"
    ) as stream:
        lines = [line for line in stream.iter_lines() if line]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_server_sent_events(simulated: openai.OpenAI) -> None:
    raw = simulated.audio.speech.create(
        model="tts-1", voice="auto", input=SCENE, response_format="pcm"
    ).content
    *deltas, done = events_of(simulated, SCENE)
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == raw
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert 0 < usage["input_tokens"] < usage["total_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_an_error_event_ends_a_stream_that_fails(simulated: openai.OpenAI) -> None:
    *deltas, last = events_of(simulated, f"{SCENE}\nLily: There was an earthquake in the night.")
    assert deltas
    assert (last["type"], last["discard_audio"]) == ("error", True)
    assert last["error"]["code"] == "segment_failed"


async def test_the_asynchronous_client(asynchronous: openai.AsyncOpenAI) -> None:
    answer = await asynchronous.audio.speech.create(
        model="tts-1", voice="alloy", input="Good night.", response_format="wav"
    )
    async with asynchronous.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Good night.", response_format="wav"
    ) as stream:
        streamed = b"".join([chunk async for chunk in stream.iter_bytes()])
    assert streamed == answer.content
    assert [model.id async for model in asynchronous.models.list()][1] == "tts-1"
    assert (await asynchronous.models.retrieve("tts-1")).owned_by == "vibevoice-serve"


def test_errors_are_the_client_s_own(simulated: openai.OpenAI) -> None:
    retrying = simulated.with_options(max_retries=2)
    with pytest.raises(openai.APIStatusError, match="in several requests") as too_long:
        retrying.audio.speech.create(model="tts-1", voice="auto", input="a " * 40_000)
    assert too_long.value.status_code == 413
    assert too_long.value.request_id
    with pytest.raises(openai.NotFoundError):
        retrying.models.retrieve("gpt-9")
    with pytest.raises(openai.InternalServerError) as failed:
        simulated.audio.speech.create(model="tts-1", voice="auto", input="An earthquake woke us.")
    assert failed.value.code == "segment_failed"


def test_a_dialogue_is_spoken_in_order(http: httpx.Client) -> None:
    turns = [
        {"speaker": ("Lily", "Note")[n % 2], "text": f"Bob: turn {n} of a very long quarrel."}
        for n in range(30)
    ]
    answer = http.post(
        "/v1/audio/dialogue",
        json={"model": "tts-1", "turns": turns, "response_format": "pcm", "pause_s": 0.5},
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-speakers"] == "Lily=sim-1,Note=sim-2"
    heard = segments_heard(np.frombuffer(answer.content, "<i2"))
    assert [segment.tag for segment in heard] == list(range(int(answer.headers["x-segments"])))


def test_voices_are_listed_heard_and_not_taken_by_piper(http: httpx.Client) -> None:
    listed = http.get("/piper/v1/audio/voices").json()["data"]
    assert [voice["alias_of"] for voice in listed if voice["id"] == "onyx"] == ["joe-deep"]
    assert http.get("/piper/v1/audio/voices/onyx").json()["alias_of"] == "joe-deep"
    sample = http.get("/piper/v1/audio/voices/joe-deep/sample")
    assert sample.headers["content-type"] == "audio/mpeg"
    assert 2.0 < seconds_of(sample.content, "mp3") < 8.0
    refused = http.post(
        "/piper/v1/audio/voices",
        data={"name": "Ann", "consent": "CC0"},
        files={"audio_sample": ("ann.wav", b"RIFF", "audio/wav")},
    )
    assert refused.status_code == 400
    assert "vibevoice" in refused.json()["error"]["message"]

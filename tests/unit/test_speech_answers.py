"""What a speech answer carries beside its audio, and what its extensions do."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, Request

from serve_app.core.fair import FairPool
from serve_app.core.limits import KeyLimits, KeyUsage
from serve_app.engines.base import SpeakTask
from serve_app.ingress import answer as answers
from serve_app.ingress import problems, routes_speech
from serve_app.ingress.gate import Caller
from serve_app.ingress.service import Service
from serve_app.pieces import TakeItem, Waiting
from serve_app.prepare import Ability
from serve_app.render import Renderer
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import BODY, LONG, SETTINGS, client_of, client_of_app, service

PCM = {**BODY, "response_format": "pcm"}
PATIENT = SETTINGS.model_copy(
    update={"speech": SETTINGS.speech.model_copy(update={"whole_answer_wait_s": 1.0})}
)


async def post(built: Service, body: dict[str, Any]) -> httpx.Response:
    async with client_of(built) as client:
        return await client.post("/v1/audio/speech", json=body)


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize("audio_format", ["pcm", "mp3"])
async def test_events_hold_the_bytes_of_the_raw_stream(audio_format: str) -> None:
    body = {**BODY, "input": LONG, "response_format": audio_format}
    raw = await post(service(FakeReplicas()), body)
    *deltas, done = events_of(await post(service(FakeReplicas()), {**body, "stream_format": "sse"}))
    assert len(deltas) > 1
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == raw.content
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    segments = int(raw.headers["x-segments"])
    assert usage["input_tokens"] == usage["output_tokens"] == segments
    assert usage["total_tokens"] == 2 * segments
    assert done["finish_reason"] == "stop"
    if audio_format == "pcm":
        assert done["audio_seconds"] == pytest.approx(len(raw.content) / 48_000, abs=1e-3)


async def test_an_error_event_says_that_the_audio_is_to_be_thrown_away() -> None:
    built = service(FakeReplicas(lambda task, _take: "crash" if task.tag == 1 else None))
    *deltas, last = events_of(await post(built, {**PCM, "input": LONG, "stream_format": "sse"}))
    assert deltas
    assert last["type"] == "error"
    assert last["discard_audio"] is True
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert last["error"]["code"] == "segment_failed"
    (outcome,) = built.speech.outcomes.all()
    told = outcome.to_json(0.0)
    assert (told["status"], told["finish_reason"], told["truncated"]) == ("failed", "error", True)


async def test_a_bug_in_mid_stream_is_an_error_event_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("PRIVATE WORDS")

    monkeypatch.setattr(Renderer, "close", fail)
    built = service(FakeReplicas())
    *deltas, last = events_of(await post(built, {**PCM, "input": LONG, "stream_format": "sse"}))
    assert deltas
    assert (last["type"], last["error"]["code"]) == ("error", "internal_error")
    assert last["discard_audio"] is True
    assert "RuntimeError" in caplog.text
    assert "PRIVATE" not in caplog.text + json.dumps(last)


async def test_a_short_answer_says_in_front_how_it_ended() -> None:
    replicas = FakeReplicas()
    answer = await post(service(replicas, settings=PATIENT), PCM)
    assert answer.headers["x-finish-reason"] == "stop"
    assert answer.headers["x-audio-seconds"] == f"{len(answer.content) / 48_000:.3f}"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["x-ai-generated"] == "true"
    long = await post(service(replicas, settings=PATIENT), {**PCM, "input": LONG})
    assert "x-finish-reason" not in long.headers
    assert "content-length" not in long.headers


async def test_a_short_answer_that_fails_at_its_end_is_an_http_error() -> None:
    text = "A sentence long enough for its sound to leave before its end has come, surely."
    built = service(FakeReplicas(lambda *_: "crash_after"), settings=PATIENT)
    answer = await post(built, {**PCM, "input": text})
    assert answer.status_code == 500
    (outcome,) = built.speech.outcomes.all()
    assert outcome.state == "failed"


@pytest.mark.parametrize("speed", [0.25, 0.8, 1.5, 4])
async def test_speed_changes_the_length_and_no_segment(speed: float) -> None:
    plain, paced = FakeReplicas(), FakeReplicas()
    usual = await post(service(plain), {**PCM, "input": LONG})
    other = await post(service(paced), {**PCM, "input": LONG, "speed": speed})
    assert len(other.content) / 2 == round(len(usual.content) / 2 / speed)
    assert sorted(paced.taken) == sorted(plain.taken)
    assert float(other.headers["x-estimated-seconds"]) == pytest.approx(
        float(usual.headers["x-estimated-seconds"]) / speed, abs=0.1
    )


async def test_what_has_no_reading_is_reported() -> None:
    built = service(FakeReplicas())
    async with client_of(built) as client:
        answer = await client.post("/v1/audio/speech", json={**PCM, "input": "Hi ☺☺, it is 7:30."})
        told = await client.get(f"/v1/audio/speech/{answer.headers['x-request-id']}")
    assert answer.headers["x-unspoken-characters"] == "2"
    assert told.json()["text"] == {
        "characters": 18,
        "normalised": {"time": 1},
        "unspoken_characters": 2,
        "unspoken": {"☺": 2},
    }
    assert "x-unspoken-characters" not in (await post(built, PCM)).headers


class Heard(FakeReplicas):
    """Remembers the tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[SpeakTask] = []

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        self.tasks.append(task)
        async for item in super().speak(task):
            yield item


async def test_normalise_and_cfg_scale_reach_the_engine() -> None:
    heard = Heard()
    built = service(heard, ability=Ability(options=frozenset({"cfg_scale"})))
    await post(built, {**PCM, "input": "It costs $5.", "cfg_scale": 2})
    await post(built, {**PCM, "input": "It costs $5.", "normalise": False})
    with_scale, without = heard.tasks
    assert with_scale.options == (("cfg_scale", 2.0),)
    assert with_scale.lines[0].text == "It costs five dollars."
    assert without.lines[0].text == "It costs $5."
    assert with_scale.key != without.key


async def test_priority_decides_who_gets_a_free_place() -> None:
    heard, pool = Heard(), FairPool(1)
    built = service(heard, pool=pool)

    async def wait_for(waiting: int) -> None:
        while pool.waiting < waiting:
            await asyncio.sleep(0)

    async with client_of(built) as client, asyncio.timeout(20):
        async with pool.place("holder"):
            batch = asyncio.create_task(
                client.post(
                    "/v1/audio/speech", json={**PCM, "input": "Later.", "priority": "batch"}
                )
            )
            await wait_for(1)
            live = asyncio.create_task(
                client.post("/v1/audio/speech", json={**PCM, "input": "Now.", "priority": 1})
            )
            await wait_for(2)
        answers_ = await asyncio.gather(batch, live)
    assert [answer.status_code for answer in answers_] == [200, 200]
    assert [task.lines[0].text for task in heard.tasks] == ["Now.", "Later."]


@dataclass
class Gated:
    """The routes behind a caller of the test's."""

    app: FastAPI
    caller: Caller


def gated(built: Service, monkeypatch: pytest.MonkeyPatch, characters: int) -> Gated:
    usage = KeyUsage(KeyLimits(characters_per_day=characters))
    app = FastAPI()
    problems.install(app)
    app.include_router(routes_speech.router(built))
    made = Gated(app, Caller("team", False, usage, lambda: 0.0))

    def current(_request: Request) -> Caller:
        return made.caller

    monkeypatch.setattr(answers, "caller_of", current)
    return made


async def test_characters_are_spent_and_given_back_if_nothing_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicas = FakeReplicas()
    gate = gated(service(replicas), monkeypatch, characters=len(BODY["input"]))
    async with client_of_app(gate.app) as client:
        for refused in ({"voice": "nobody"}, {"model": "gpt-9"}, {"input": "今"}):
            answer = await client.post("/v1/audio/speech", json={**PCM, **refused})
            assert answer.status_code in {400, 404}
        replicas.faults = lambda *_: "crash"
        assert (await client.post("/v1/audio/speech", json=PCM)).status_code == 500
        replicas.faults = lambda *_: None
        assert (await client.post("/v1/audio/speech", json=PCM)).status_code == 200
        refused_ = await client.post("/v1/audio/speech", json={**PCM, "input": "A"})
    assert refused_.status_code == 429
    assert refused_.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused_.headers["retry-after"]) == 86_400


async def test_only_the_caller_and_admins_learn_how_a_stream_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = gated(service(FakeReplicas()), monkeypatch, characters=1000)
    async with client_of_app(gate.app) as client:
        made = await client.post("/v1/audio/speech", json=PCM)
        url = f"/v1/audio/speech/{made.headers['x-request-id']}"
        assert (await client.get(url)).status_code == 200
        gate.caller = Caller("others", False, KeyUsage(KeyLimits()))
        assert (await client.get(url)).status_code == 404
        gate.caller = Caller("operator", True, KeyUsage(KeyLimits()))
        assert (await client.get(url)).status_code == 200


async def test_a_request_id_is_its_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    gate = gated(service(replicas), monkeypatch, characters=1000)
    named = {"x-request-id": "one"}
    async with client_of_app(gate.app) as client:
        first = asyncio.create_task(client.post("/v1/audio/speech", json=PCM, headers=named))
        async with asyncio.timeout(20):
            while replicas.running < 1:
                await asyncio.sleep(0)
        twice = await client.post("/v1/audio/speech", json=PCM, headers=named)
        assert twice.status_code == 400
        team, gate.caller = gate.caller, Caller("others", False, KeyUsage(KeyLimits()))
        assert replicas.gate is not None
        replicas.gate.set()
        longer = {**PCM, "input": LONG}
        second = await client.post("/v1/audio/speech", json=longer, headers=named)
        assert (second.status_code, (await first).status_code) == (200, 200)
        theirs = (await client.get("/v1/audio/speech/one")).json()
        gate.caller = team
        ours = (await client.get("/v1/audio/speech/one")).json()
        assert theirs["audio_s"] == pytest.approx(len(second.content) / 48_000, abs=1e-3)
        assert ours["audio_s"] == pytest.approx(len((await first).content) / 48_000, abs=1e-3)


@pytest.mark.parametrize("log_text", [False, True])
async def test_each_request_is_written_down_and_its_text_only_if_that_is_asked_for(
    log_text: bool, caplog: pytest.LogCaptureFixture
) -> None:
    speech = SETTINGS.speech.model_copy(update={"log_text": log_text})
    built = service(FakeReplicas(), settings=SETTINGS.model_copy(update={"speech": speech}))
    text = "A PRIVATE\nmatter."
    digest = sha256(text.encode()).hexdigest()[:12]
    with caplog.at_level(logging.INFO, logger="serve_app"):
        async with client_of(built) as client:
            body = {**PCM, "input": text}
            made = await client.post("/v1/audio/speech", json=body)
            await client.post("/v1/audio/speech", json={**body, "voice": "nobody"})
    started, refused = [line for line in caplog.messages if line.startswith("speech ")]
    assert f"speech {made.headers['x-request-id']} of anonymous: started" in started
    assert "of anonymous: unknown_voice" in refused
    for line in (started, refused):
        assert f"{len(text)} characters, SHA-256 {digest}" in line
        assert "\n" not in line
        assert ("PRIVATE" in line) is log_text


async def test_without_a_gate_there_is_no_caller() -> None:
    app = FastAPI()
    app.include_router(routes_speech.router(service(FakeReplicas())))
    async with client_of_app(app) as client:
        answer = await client.post("/v1/audio/speech", json=PCM)
    assert answer.status_code == 200
    assert int(np.abs(np.frombuffer(answer.content, "<i2").astype(int)).max()) > 1000

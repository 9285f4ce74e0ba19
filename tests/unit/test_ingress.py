"""The HTTP face without Ray: what is refused, what streams, how errors look."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

import av
import httpx
import numpy as np
import pytest

from serve_app import speech
from serve_app.core.casting import STOCK_NAMES
from serve_app.core.plan import PlannedSegment, plan_segments
from serve_app.core.script import Script
from serve_app.engines.base import SpeakTask
from serve_app.ingress.answer import StreamCutError
from serve_app.ingress.bounded import CutOffError
from serve_app.pieces import TakeItem, Waiting
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import BODY, LONG, client_of, service


@pytest.fixture
def replicas() -> FakeReplicas:
    return FakeReplicas()


@pytest.fixture
async def client(replicas: FakeReplicas) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(service(replicas)) as made:
        yield made


@pytest.mark.parametrize("audio_format", ["wav", "flac", "mp3", "opus", "aac", "pcm"])
async def test_speaks_in_every_format(client: httpx.AsyncClient, audio_format: str) -> None:
    answer = await client.post("/v1/audio/speech", json={**BODY, "response_format": audio_format})
    assert answer.status_code == 200
    if audio_format == "pcm":
        samples = np.frombuffer(answer.content, "<i2")
    else:
        with av.open(io.BytesIO(answer.content), "r") as container:
            frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
            expected_hz = 48_000 if audio_format == "opus" else 24_000
            assert container.streams.audio[0].rate == expected_hz
        samples = np.concatenate(frames)
        samples = samples if samples.dtype == np.int16 else (samples * 32767).astype(np.int16)
    assert len(samples) > 12_000
    assert int(np.abs(samples).max()) > 1000
    outcome = (await client.get(f"/v1/audio/speech/{answer.headers['x-request-id']}")).json()
    assert outcome["status"] == "complete"
    assert outcome["segments_done"] == outcome["segments"] == int(answer.headers["x-segments"])


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"input": ""}, 400, "speak"),
        ({"input": " ... "}, 400, "speak"),
        ({"input": "x" * 5001}, 413, "in several requests"),
        ({"voice": "nobody"}, 400, "'alto', 'tenor'"),
        ({"response_format": "ogg"}, 400, "wav"),
        ({"model": "gpt-9"}, 404, "fake-1"),
        (
            {"input": "\n".join(f"{n}: Hello there." for n in ["Ann", "Bob", "Cid", "Dan", "Eva"])},
            400,
            "Eva",
        ),
        ({"input": "今天天气很好。"}, 400, "Latin letters"),
        ({"speed": 9}, 400, "speed"),
        ({"instructions": "whisper"}, 400, "instructions"),
        ({"stream_format": "tape"}, 400, "sse"),
        ({"language": "fr"}, 400, "language"),
        ({"language": "zh"}, 400, "alto"),
        ({"cfg_scale": 1.3}, 400, "cfg_scale"),
        ({"priority": 10}, 400, "priority"),
        ({"priority": "soon"}, 400, "priority"),
        ({"seed": True}, 400, "seed"),
        ({"seed": -1}, 400, "seed"),
        ({"voice": {"name": "alto"}}, 400, "voice"),
        ({"voice": 3}, 400, "voice"),
        ({"speakers": {"Zoe": "alto"}}, 400, "zoe"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
async def test_refusals_name_the_fault_and_start_nothing(
    client: httpx.AsyncClient,
    replicas: FakeReplicas,
    change: dict[str, Any],
    status: int,
    says: str,
) -> None:
    answer = await client.post("/v1/audio/speech", json={**BODY, **change})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert replicas.taken == []


async def test_a_stranger_to_json_gets_our_shape(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/audio/speech", content=b"{", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    missing = await client.get("/v2/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "not_found"


async def test_stock_voice_names_are_mapped(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/audio/speech", json={**BODY, "voice": {"id": "alloy"}, "model": "tts-1"}
    )
    assert answer.status_code == 200
    assert answer.headers["x-speakers"] == "Narrator=tenor"
    voices = (await client.get("/v1/audio/voices")).json()["data"]
    assert [voice["id"] for voice in voices[:3]] == ["alto", "tenor", "alloy"]
    assert {voice["id"] for voice in voices[2:]} == set(STOCK_NAMES)
    for name in STOCK_NAMES:
        answer = await client.post("/v1/audio/speech", json={**BODY, "voice": name})
        assert answer.status_code == 200
    models = (await client.get("/v1/models")).json()["data"]
    assert models[0]["id"] == "fake-1"
    assert (await client.get("/v1/models/tts-1")).json()["alias_of"] == "fake-1"
    assert (await client.get("/v1/models/none")).status_code == 404


async def test_a_failure_before_the_first_sound_is_an_http_error() -> None:
    async with client_of(service(FakeReplicas(lambda *_: "crash"))) as client:
        answer = await client.post("/v1/audio/speech", json=BODY)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "segment_failed"


async def test_a_failure_in_mid_stream_cuts_the_stream_and_is_told() -> None:
    built = service(FakeReplicas(lambda task, _take: "crash" if task.tag == 1 else None))
    async with client_of(built, show_errors=True) as client:
        with pytest.raises((CutOffError, StreamCutError)):
            async with client.stream(
                "POST", "/v1/audio/speech", json={**BODY, "input": LONG}
            ) as answer:
                async for _ in answer.aiter_raw():
                    pass
    (outcome,) = built.speech.outcomes.all()
    assert outcome.state == "failed"
    assert "Segment 1" in (outcome.error or "")


def before_the_rest(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something when the first segment is planned and the others are about to be."""

    def observed(script: Script, **more: Any) -> Iterator[PlannedSegment]:
        segments = plan_segments(script, **more)
        yield next(segments)
        act()
        yield from segments

    monkeypatch.setattr(speech, "plan_segments", observed)


class BusyReplicas(FakeReplicas):
    """Take nothing until they are free."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        await self.free.wait()
        async for item in super().speak(task):
            yield item


async def test_the_rest_is_planned_once_a_replica_has_the_first_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicas = BusyReplicas()
    taken: list[list[int]] = []
    before_the_rest(monkeypatch, lambda: taken.append([tag for tag, _ in replicas.taken]))
    built = service(replicas)
    async with client_of(built) as client, asyncio.timeout(10):
        asked = asyncio.create_task(client.post("/v1/audio/speech", json={**BODY, "input": LONG}))
        while not built.speech.outcomes.all():
            await asyncio.sleep(0)
        for _ in range(10):  # time for planning, if it did not wait
            await asyncio.to_thread(lambda: None)
        replicas.free.set()
        answer = await asked
    assert taken == [[0]]
    assert answer.status_code == 200
    (outcome,) = built.speech.outcomes.all()
    assert int(answer.headers["x-segments"]) == outcome.segments == outcome.segments_done > 1
    assert float(answer.headers["x-estimated-seconds"]) == pytest.approx(outcome.audio_s, rel=0.3)


async def test_a_plan_that_fails_behind_the_first_segment_is_an_http_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("no plan")

    before_the_rest(monkeypatch, fail)
    replicas = FakeReplicas()
    built = service(replicas)
    async with client_of(built) as client:
        answer = await client.post("/v1/audio/speech", json={**BODY, "input": LONG})
    assert answer.status_code == 500
    (outcome,) = built.speech.outcomes.all()
    assert (outcome.state, outcome.error) == ("failed", "RuntimeError")
    assert replicas.running == 0


async def test_over_the_limit_of_streams_is_429() -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    async with client_of(service(replicas)) as client:
        busy = [asyncio.create_task(client.post("/v1/audio/speech", json=BODY)) for _ in range(2)]
        async with asyncio.timeout(5):
            while replicas.running < 2:
                await asyncio.sleep(0.01)
        answer = await client.post("/v1/audio/speech", json=BODY)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["x-should-retry"] == "true"
        assert replicas.gate is not None
        replicas.gate.set()
        assert [one.status_code for one in await asyncio.gather(*busy)] == [200, 200]


async def test_health_and_readiness() -> None:
    async with client_of(service(FakeReplicas(), ready=False)) as client:
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["no replica answered"]
        spoken = await client.post("/v1/audio/speech", json=BODY)
        assert spoken.status_code == 503
        assert int(spoken.headers["retry-after"]) > 0
    async with client_of(service(FakeReplicas())) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert (await client.get("/get_metrics", params={"since": 5})).json()["since"] == 5


async def test_the_same_request_gives_the_same_bytes(client: httpx.AsyncClient) -> None:
    one = await client.post("/v1/audio/speech", json={**BODY, "response_format": "wav"})
    two = await client.post("/v1/audio/speech", json={**BODY, "response_format": "wav"})
    other = await client.post(
        "/v1/audio/speech", json={**BODY, "response_format": "wav", "seed": 7}
    )
    assert one.content == two.content
    assert one.content != other.content


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b'{"model"', "headers": {"content-type": "application/json"}},
        {"content": b"{}", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        {"json": [1]},
    ],
)
async def test_a_body_that_is_no_object_is_told_so(
    client: httpx.AsyncClient, sent: dict[str, Any]
) -> None:
    error = (await client.post("/v1/audio/speech", **sent)).json()["error"]
    assert "no JSON object" in error["message"]
    assert error["param"] is None


async def test_however_much_is_wrong_the_answer_is_short(client: httpx.AsyncClient) -> None:
    body = {"model": "m" * 128, "turns": [{"text": 1, "x" * 5000: 2}] * 300}
    answer = await client.post("/v1/audio/dialogue", json=body)
    assert answer.status_code == 400
    assert len(answer.content) < 4000
    assert answer.json()["error"]["param"] == "turns.0.speaker"
    voice = await client.post("/v1/audio/speech", json={**BODY, "voice": "v" * 10_000})
    assert (voice.status_code, voice.json()["error"]["param"]) == (400, "voice")
    assert len(voice.content) < 4000


async def test_the_description_is_there_and_no_page_that_loads_other_hosts(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/openapi.json")).status_code == 200
    for page in ("/docs", "/redoc"):
        assert (await client.get(page)).status_code == 404


async def test_load_balancers_may_ask_for_the_head(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await client.head(path)).status_code == 200


async def test_a_long_name_is_not_told_again(client: httpx.AsyncClient) -> None:
    for field, value in (("voice", "v" * 9_000), ("speakers", {"Narrator": "v" * 9_000})):
        answer = await client.post("/v1/audio/speech", json={**BODY, field: value})
        assert answer.status_code == 400
        assert len(answer.content) < 1000


async def test_nobody_is_sent_to_jobs_where_there_are_none(client: httpx.AsyncClient) -> None:
    for text in ("x" * 5001, "x" * 3_000_000):
        answer = await client.post("/v1/audio/speech", json={**BODY, "input": text})
        assert answer.status_code == 413
        assert "job" not in answer.text

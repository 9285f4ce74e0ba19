"""From the settings to the gate: where keys come from, how they change, and what is never told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self
from unittest.mock import PropertyMock

import httpx
import openai
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import RayTaskError
from typer.testing import CliRunner

from serve_app.access import Access, LiveKeys, open_keys, require_key_source, rules_of
from serve_app.cli import app as command_line
from serve_app.config import API_KEY, AccessSettings, parse_settings
from serve_app.core.backlog import next_end_s
from serve_app.core.fair import FairPool, Places
from serve_app.core.limits import KeyLimits
from serve_app.engines.base import Chunk, SpeakTask, SpeechEnd
from serve_app.engines.simulated import SimulatedEngine, SimulatedOptions
from serve_app.errors import ConfigError, EngineError, NotReadyError
from serve_app.ingress.bounded import GateRules
from serve_app.ingress.http import create_app
from serve_app.ingress.problems import problem
from serve_app.jobs.handle import _own as job_error
from serve_app.jobs.settings import JobSettings
from serve_app.keys import ApiKey, KeyRing, digest_of, key_entry, new_key, parse_keys
from serve_app.outcomes import Outcomes
from serve_app.pieces import TakeItem
from serve_app.replica import ReplicaIdentity, Speaker
from serve_app.replicas import own_error
from serve_app.store_probe import StoreProbe, job_store_probe, voice_store_probe
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import (
    BODY,
    LONG,
    SETTINGS,
    Known,
    client_of,
    client_of_app,
    service,
)

ANN, BEN = new_key(), new_key()


def written(path: Path, *tokens: str) -> Path:
    path.write_text("keys:\n" + "".join(key_entry(f"key-{t[4:12]}", t, admin=True) for t in tokens))
    return path


@pytest.fixture(autouse=True)
def _no_key_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)


def test_keys_are_required_unless_switched_off_and_the_error_says_what_to_do() -> None:
    assert AccessSettings().keys == "required"
    with pytest.raises(ConfigError, match=r"keys_file.*VIBEVOICE_API_KEY.*off"):
        require_key_source(AccessSettings())
    with pytest.raises(ConfigError):
        open_keys(AccessSettings())


def test_a_bare_off_of_yaml_is_off(caplog: pytest.LogCaptureFixture) -> None:
    args = yaml.safe_load("{engine: {kind: simulated}, cards: none, access: {keys: off}}")
    with caplog.at_level(logging.WARNING):
        assert open_keys(parse_settings(args).access) is None
    assert "API KEYS ARE OFF" in caplog.text


def test_the_environment_gives_one_admin_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, ANN)
    keys = open_keys(AccessSettings())
    assert keys is not None
    found = keys.find(ANN)
    assert found is not None
    assert found.admin
    assert keys.find(BEN) is None
    monkeypatch.setenv(API_KEY, "short")
    with pytest.raises(ConfigError, match="guessed") as caught:
        open_keys(AccessSettings())
    assert "short" not in str(caught.value)


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "keys.yaml", ANN)
    keys = LiveKeys(path, period_s=0.005)
    keys.start()
    try:
        assert keys.find(ANN) is not None
        written(path, BEN)
        await until(lambda: keys.find(BEN) is not None)
        assert keys.find(ANN) is None
        path.write_text("keys: SECRET")
        await until(lambda: "not used" in caplog.text)
        assert "SECRET" not in caplog.text
        path.unlink()
        await until(lambda: "can't be read" in caplog.text)
        assert str(tmp_path) not in caplog.text
        assert keys.find(BEN) is not None
        written(path, ANN, BEN)
        await until(lambda: keys.find(ANN) is not None)
    finally:
        await keys.close()


@pytest.mark.parametrize("broken", ["keys: 2024-99-99", "keys: " + "[" * 1_000])
async def test_a_key_can_be_revoked_after_a_mistake_in_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    path = written(tmp_path / "keys.yaml", ANN)
    keys = LiveKeys(path, period_s=0.005)
    keys.start()
    try:
        path.write_text(broken)
        await until(lambda: "not used" in caplog.text)
        written(path, BEN)
        await until(lambda: keys.find(ANN) is None)
    finally:
        await keys.close()


async def test_a_file_that_could_not_be_read_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "keys.yaml", ANN)
    keys = LiveKeys(path, period_s=0.005)
    read, errors = Path.read_text, [OSError(5, "EIO"), MemoryError()]

    def shaky(self: Path, *args: Any, **more: Any) -> str:
        if errors:
            raise errors.pop()
        return read(self, *args, **more)

    written(path, BEN)
    monkeypatch.setattr(Path, "read_text", shaky)
    keys.start()
    try:
        await until(lambda: keys.find(ANN) is None)
        assert caplog.text.count("not used") == 2
    finally:
        await keys.close()


def test_a_missing_file_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"access\.keys_file") as caught:
        open_keys(AccessSettings(keys_file=tmp_path / "none.yaml"))
    assert str(tmp_path) not in str(caught.value)


def test_the_command_prints_a_key_and_its_line() -> None:
    done = CliRunner().invoke(command_line, ["key", "studio", "--admin"])
    assert done.exit_code == 0
    token = next(word for word in done.output.split() if word.startswith("vvs-"))
    (kept,) = parse_keys("keys:\n" + done.output[done.output.index("- name") :])
    assert (kept.name, kept.admin, kept.digest) == ("studio", True, digest_of(token))
    refused = CliRunner().invoke(command_line, ["key", "no\nname"])
    assert refused.exit_code != 0


def test_the_bounds_come_from_the_settings() -> None:
    rules = rules_of(AccessSettings(max_body_mib=0.5, max_open_requests=3))
    assert (rules.bodies.body_bytes, rules.max_open_requests) == (2**19, 3)
    assert rules_of(AccessSettings()) == GateRules()


async def test_pages_of_the_named_origin_may_ask_without_a_key() -> None:
    ring = KeyRing([ApiKey("ann", digest_of(ANN), admin=False, limits=KeyLimits())])
    built = create_app(service(FakeReplicas()), Access(ring, cors_origins=("https://app.example",)))
    asks = {"access-control-request-method": "POST"}
    async with client_of_app(built) as client:
        for origin, status in (("https://app.example", 200), ("https://evil.example", 400)):
            answer = await client.options("/v1/audio/speech", headers={"origin": origin, **asks})
            assert answer.status_code == status
        answer = await client.get("/v1/models", headers={"origin": "https://app.example"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://app.example"


def test_what_is_for_operators_is_not_told_to_clients(caplog: pytest.LogCaptureFixture) -> None:
    for error in (ConfigError("/srv/SECRET can't be read"), EngineError("no PRIVATE WORDS")):
        told = bytes(problem(error).body).decode() + caplog.text
        assert "SECRET" not in told
        assert "PRIVATE" not in told
    assert "bad_config: ConfigError" in caplog.text
    for own in (own_error, job_error):
        ours = own(RayTaskError("speak", "no PRIVATE WORDS", ValueError("no PRIVATE WORDS")))
        assert "ValueError" in ours.message
        assert "PRIVATE" not in ours.message


class Quoting(FakeReplicas):
    """A replica whose engine's library quotes what it can't speak."""

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem, None]:
        identity = ReplicaIdentity("r", "n", None, simulated=True)
        speaker = Speaker(QuotingEngine(SimulatedOptions()), identity, Silent(), Silent())
        async with aclosing(speaker.speak(task)) as items:
            async for item in items:
                yield item


class QuotingEngine(SimulatedEngine):
    async def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        yield Chunk(bytes(2))
        raise ValueError(f"can't speak {task.lines[0].text} of /srv/SECRET")


class FailingPool(FairPool):
    def at(self, priority: int) -> Places:
        raise RuntimeError("PRIVATE WORDS")


class Silent:
    def load(self, busy: int, slots: int) -> None: ...
    def spoken(self, record: object, context: object) -> None: ...


async def test_errors_and_logs_name_no_path_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    text = {**BODY, "input": "PRIVATE WORDS of a user."}
    with caplog.at_level(logging.DEBUG, logger="serve_app"):
        async with client_of_app(create_app(service(FakeReplicas()))) as client:
            answer = await client.get("/v1/models/../SECRET/place")
            assert answer.status_code == 404
            assert "SECRET" not in answer.text
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            wrong = await client.put("/v1/models")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
        broken = service(Quoting())
        async with client_of_app(create_app(broken)) as client:
            answer = await client.post("/v1/audio/speech", json=text)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "segment_failed")
            assert "PRIVATE" not in answer.text
        (lost,) = broken.speech.outcomes.all()
        assert "engine_error" in str(lost.error)
        assert "PRIVATE" not in str(lost.to_json(0.0))
        failing = service(FakeReplicas(), pool=FailingPool(2))
        async with client_of_app(create_app(failing)) as client:
            answer = await client.post("/v1/audio/speech", json=text)
            assert answer.json()["error"]["code"] == "internal_error"
    assert "POST /v1/audio/speech failed" in caplog.text
    assert "PRIVATE" not in caplog.text
    assert "SECRET" not in caplog.text


@given(
    ended=st.lists(st.floats(0, 1e4), max_size=20), running=st.lists(st.floats(0, 1e4), max_size=20)
)
def test_the_wait_is_bounded_and_shrinks_with_what_runs(
    ended: list[float], running: list[float]
) -> None:
    wait_s = next_end_s(ended, running, most_s=120)
    assert 1 <= wait_s <= 120
    assert next_end_s(ended, [*running, 0.0], most_s=120) <= wait_s


def test_the_wait_is_the_mean_duration_over_what_runs() -> None:
    assert next_end_s([40.0] * 50, [0.0] * 4, most_s=120) == 10
    assert next_end_s([], [30.0, 30.0], most_s=120) == 30
    assert next_end_s([1.0] * 9, [991.0], most_s=1000) == 112


async def test_a_full_service_says_when_a_stream_is_likely_to_end() -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    built = service(replicas)
    now_s = [0.0]
    built.speech.outcomes = Outcomes(clock=lambda: now_s[0])
    async with client_of_app(create_app(built)) as client, asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(client.post("/v1/audio/speech", json=BODY))
        await until(lambda: replicas.running == 2)
        now_s[0] = 30.0
        answer = await client.post("/v1/audio/speech", json=BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
        assert answer.headers["x-should-retry"] == "true"
        assert replicas.gate is not None
        replicas.gate.set()


async def test_streams_of_a_lower_priority_leave_room_for_those_who_listen() -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    settings = SETTINGS.speech.model_copy(update={"max_concurrent_requests": 4})
    built = service(replicas, settings=SETTINGS.model_copy(update={"speech": settings}))
    batch = {**BODY, "priority": "batch"}
    async with client_of_app(create_app(built)) as client, asyncio.TaskGroup() as group:
        held = [group.create_task(client.post("/v1/audio/speech", json=batch)) for _ in range(3)]
        await until(lambda: built.speech.outcomes.running == 3)
        refused = await client.post("/v1/audio/speech", json=batch)
        assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "true")
        listener = group.create_task(client.post("/v1/audio/speech", json=BODY))
        await until(lambda: built.speech.outcomes.running == 4)
        assert replicas.gate is not None
        replicas.gate.set()
    assert [it.result().status_code for it in (*held, listener)] == [200] * 4


def sdk(http: httpx.AsyncClient) -> openai.AsyncOpenAI:
    """OpenAI's client as it comes, with its own retries."""
    return openai.AsyncOpenAI(
        base_url="http://test/v1",
        api_key="none",
        http_client=http,  # type: ignore[arg-type] # httpx's clients too, though it names httpx2's
    )


@pytest.mark.parametrize("state", ["full", "starting"])
async def test_the_sdk_waits_as_it_is_told_and_then_succeeds(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas, known = FakeReplicas(), Known(ready=state != "starting")
    built = service(replicas, listed=known)
    slept: list[float] = []
    if state == "full":
        streams = PropertyMock(side_effect=lambda: 0 if slept else 2)
        monkeypatch.setattr(Outcomes, "running", streams)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        known.ready = True

    monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
    async with client_of(built) as http:
        spoken = await sdk(http).audio.speech.create(model="tts-1", voice="alto", input="Hello.")
    assert spoken.content
    assert slept == [1.0 if state == "full" else 5.0]


async def test_the_sdk_does_not_repeat_what_can_not_succeed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openai._base_client.anyio.sleep", pytest.fail)
    async with client_of(service(FakeReplicas())) as http:
        for voice, error in (("nobody", openai.BadRequestError), ("alto", openai.NotFoundError)):
            model = "tts-1" if voice == "nobody" else "gpt-9"
            with pytest.raises(error):
                await sdk(http).audio.speech.create(model=model, voice=voice, input="Hello.")


async def test_too_many_open_requests_are_refused_but_health_is_not() -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    access = Access(rules=GateRules(max_open_requests=1))
    async with client_of_app(create_app(service(replicas), access)) as client:
        held = asyncio.create_task(client.post("/v1/audio/speech", json=BODY))
        await until(lambda: replicas.running == 1)
        assert (await client.get("/v1/models")).status_code == 429
        assert (await client.get("/healthz")).status_code == 200
        assert replicas.gate is not None
        replicas.gate.set()
        assert (await held).status_code == 200
        assert (await client.get("/v1/models")).status_code == 200


async def test_a_reader_that_stops_holds_a_bounded_buffer_and_no_card() -> None:
    """The fan-out speaks ahead as far as its buffer goes, frees its slots, and then waits."""
    mib = SETTINGS.model_copy(
        update={"speech": SETTINGS.speech.model_copy(update={"buffer_mib": 1})}
    )
    replicas = FakeReplicas()
    built = service(replicas, settings=mib)
    text = {**BODY, "input": LONG * 12, "response_format": "pcm"}
    async with Reader(create_app(built), text) as reader:
        await until(lambda: reader.parts == 1 and replicas.running == 0)
        taken = len(replicas.taken)
        for _ in range(200):
            await asyncio.sleep(0)
        assert (replicas.running, len(replicas.taken)) == (0, taken)
        (outcome,) = built.speech.outcomes.all()
        assert taken < outcome.segments
        reader.reading.set()
        await reader.end()
        assert outcome.state == "complete"


async def test_a_reader_that_leaves_frees_its_slots() -> None:
    replicas = FakeReplicas(lambda task, _take: "hang" if task.tag else None)
    built = service(replicas)
    async with Reader(create_app(built), {**BODY, "input": LONG * 4}) as reader:
        await until(lambda: replicas.running > 0 and reader.parts > 0)
        reader.reading.set()
        reader.leave()
        await until(lambda: replicas.running == 0)
    assert built.speech.outcomes.all()[0].state == "cancelled"


class Reader:
    """A client of an ASGI application that takes one part of its answer, then waits."""

    def __init__(self, app: Any, body: dict[str, Any]) -> None:
        self.reading, self._left = asyncio.Event(), asyncio.Event()
        self.parts = 0
        request = httpx.Request("POST", "http://test/v1/audio/speech", json=body)
        self._messages = [{"type": "http.request", "body": request.content, "more_body": False}]
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/audio/speech",
            "raw_path": b"/v1/audio/speech",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        self._app = app

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def end(self) -> None:
        async with asyncio.timeout(30):
            await self._task

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            self.parts += 1
            await self.reading.wait()


async def test_a_reader_that_never_reads_is_cut_off() -> None:
    access = Access(rules=GateRules(send_timeout_s=0.05))
    replicas = FakeReplicas()
    built = service(replicas)
    body = {**BODY, "input": LONG * 4}
    async with Reader(create_app(built, access), body) as reader:
        with pytest.raises(Exception, match="read nothing"):
            await reader.end()
    assert replicas.running == 0
    assert built.speech.outcomes.running == 0


async def test_readiness_tells_each_reason() -> None:
    class Full:
        async def problem(self) -> str | None:
            return "the voice library can't be written to: it is full"

    ready = service(FakeReplicas())
    async with client_of_app(create_app(ready)) as client:
        assert (await client.get("/readyz")).status_code == 200
        ready.drain.draining = True
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "ends" in answer.json()["reasons"][0]
    worse = service(FakeReplicas(), ready=False)
    built = type(worse)(
        worse.settings,
        worse.speech,
        worse.replicas,
        worse.metrics,
        stores=(Full(),),
        all_paused=lambda: True,
    )
    async with client_of_app(create_app(built)) as client:
        answer = await client.get("/readyz")
    assert answer.json()["status"] == "not_ready"
    assert len(answer.json()["reasons"]) == 3


async def test_a_store_is_tried_by_writing_and_not_at_every_question(tmp_path: Path) -> None:
    settings = parse_settings(
        {
            "engine": {"kind": "simulated"},
            "cards": "none",
            "voices": {"path": str(tmp_path / "voices")},
        }
    ).voices
    probe = voice_store_probe(settings)
    assert probe is not None
    assert await probe.problem() is None
    assert list((tmp_path / "voices").iterdir()) == []
    probe.close()
    tries, now_s, hold = [], [0.0], threading.Event()

    def attempt() -> None:
        tries.append(now_s[0])
        hold.wait()
        raise NotReadyError("it is full")

    jobs = job_store_probe(JobSettings(store=str(tmp_path / "jobs")))
    assert jobs is not None
    assert await jobs.problem() is None
    assert list((tmp_path / "jobs").iterdir()) == []
    jobs.close()
    (tmp_path / "jobs").rmdir()
    (tmp_path / "jobs").write_bytes(b"no folder")
    broken = job_store_probe(JobSettings(store=str(tmp_path / "jobs")))
    assert broken is not None
    told = await broken.problem()
    broken.close()
    assert "job store" in str(told)
    assert str(tmp_path) not in str(told)
    assert job_store_probe(None) is None
    slow = StoreProbe("store", attempt, wait_s=0.02, clock=lambda: now_s[0])
    try:
        assert "has not answered" in (await slow.problem() or "")
        hold.set()
        await until(lambda: slow._last is not None and slow._last[1].done())
        assert "it is full" in (await slow.problem() or "")
        assert tries == [0.0]
        now_s[0] = 100.0
        assert "it is full" in (await slow.problem() or "")
        assert tries == [0.0, 100.0]
    finally:
        hold.set()
        slow.close()

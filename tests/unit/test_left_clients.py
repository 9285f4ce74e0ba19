"""Clients that leave early or come together: nothing goes on for them, no bound is passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request

from serve_app.access import Access
from serve_app.core.limits import KeyLimits
from serve_app.errors import ConfigError, NotReadyError, OverloadedError
from serve_app.ingress.answer import speak
from serve_app.ingress.http import create_app
from serve_app.ingress.jobs_audio import growing_answer
from serve_app.jobs.port import JobsPort
from serve_app.jobs.reader import FileReader
from serve_app.jobs.settings import JobSettings
from serve_app.keys import ApiKey, KeyRing, digest_of
from serve_app.prepare import ScriptOrder
from serve_app.speech import SpeechOrder
from tests.unit.api_scene import everything
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import ENGINE, LONG, client_of_app, service
from tests.unit.job_scene import FAST, scene

SCOPE = {"type": "http", "asgi": {"spec_version": "2.4"}}


def order(**changes: Any) -> SpeechOrder:
    return SpeechOrder(ScriptOrder(LONG * 3, voice="alto"), "pcm", **changes)


async def nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize("shape", ["audio", "sse"])
async def test_who_left_before_the_first_byte_ends_the_stream(shape: Any) -> None:
    gate = asyncio.Event()
    gate.set()
    replicas = FakeReplicas(gate=gate)
    built = service(replicas)
    answer = await speak(built, order(), ENGINE, None, stream_format=shape)
    gate.clear()

    async def send(_message: MutableMapping[str, Any]) -> None:
        raise OSError("the client left")

    with pytest.raises(ClientDisconnect):
        await answer(SCOPE, nothing, send)
    assert built.speech.outcomes.running == 0
    assert replicas.running == 0


async def test_requests_that_come_together_keep_to_the_bound() -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    built = service(replicas)
    most = built.settings.speech.max_concurrent_requests
    opening = [asyncio.create_task(built.speech.open(order(), ENGINE)) for _ in range(most + 3)]
    async with asyncio.timeout(20):
        while sum(task.done() for task in opening) < 3:
            await asyncio.sleep(0.01)
    refused = [task for task in opening if task.done()]
    assert all(isinstance(task.exception(), OverloadedError) for task in refused)
    assert built.speech.outcomes.running == most
    for task in opening:
        task.cancel()
    await asyncio.gather(*opening, return_exceptions=True)


async def test_an_encoder_that_can_not_be_opened_leaves_no_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_audio_format: str) -> None:
        raise ConfigError("this format's codec is missing")

    monkeypatch.setattr("serve_app.speech.open_encoder", fails)
    built = service(FakeReplicas())
    with pytest.raises(ConfigError):
        await built.speech.open(order(), ENGINE)
    assert built.speech.outcomes.running == 0


async def test_a_retry_that_may_have_been_kept_is_paid_for(tmp_path: Path) -> None:
    text = "One ship sails. It never comes back, and nobody knows why."
    ring = KeyRing(
        [ApiKey("ann", digest_of("k"), False, KeyLimits(characters_per_day=3 * len(text)))]
    )
    async with scene(tmp_path) as at:
        reader = FileReader(at.folder)
        port = JobsPort(at.runner.jobs, reader, JobSettings(store=str(tmp_path)))
        app = create_app(replace(service(FakeReplicas()), jobs=port), Access(ring))
        real = at.runner.jobs.retry

        async def kept_but_unanswered(*args: Any, **more: Any) -> Any:
            await real(*args, **more)
            raise NotReadyError("no answer")

        async with client_of_app(app) as http:
            head = {"authorization": "Bearer k"}
            made = await http.post("/v1/jobs", json={"input": text}, headers=head)
            await at.done(made.json()["id"])
            at.runner.jobs.retry = kept_but_unanswered  # type: ignore[method-assign] # see its name
            path = f"/v1/jobs/{made.json()['id']}/segments/0/retry"
            answers = [(await http.post(path, headers=head)).status_code for _ in range(9)]
        reader.close()
    assert 503 in answers
    assert answers[-1] == 429


async def test_an_admin_can_delete_a_damaged_job(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job_id = await at.submit("One ship sails.")
        await at.done(job_id)
    (tmp_path / "jobs" / job_id / "job.json").write_bytes(b"{")
    keys = [ApiKey(name, digest_of(name), name == "root", KeyLimits()) for name in ("ann", "root")]
    async with scene(tmp_path) as at:
        reader = FileReader(at.folder)
        port = JobsPort(at.runner.jobs, reader, JobSettings(store=str(tmp_path)))
        app = create_app(replace(service(FakeReplicas()), jobs=port), Access(KeyRing(keys)))
        async with client_of_app(app) as http:
            path = f"/v1/jobs/{job_id}"
            answers = {
                who: await http.delete(path, headers={"authorization": f"Bearer {who}"})
                for who in ("ann", "root")
            }
        reader.close()
    assert answers["ann"].status_code == 403
    assert answers["root"].json()["deleted"] is True
    assert not (tmp_path / "jobs" / job_id).exists()


@pytest.mark.parametrize("what", ["events", "audio?format=mp3"])
def test_a_stream_that_is_held_is_free_again_when_its_client_leaves(
    tmp_path: Path, what: str
) -> None:
    ring = KeyRing([ApiKey("ann", digest_of("k"), False, KeyLimits(concurrent_streams=1))])
    head = {"authorization": "Bearer k"}
    with (
        everything(tmp_path, ring) as url,
        httpx.Client(base_url=f"{url}/v1", headers=head, timeout=20) as http,
    ):
        # Nothing more comes of it: who listens is silent, and so is the service.
        job = http.post("/jobs", json={"input": LONG * 20}).json()["id"]
        assert http.post(f"/jobs/{job}/pause").json()["status"] == "paused"
        path = f"/jobs/{job}/{what}"
        with http.stream("GET", path) as held:
            assert held.status_code == 200
            refused = http.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                429,
                "rate_limit_exceeded",
            )
        deadline_s = time.monotonic() + 20
        while (status := _status(http, path)) == 429 and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert status == 200


def _status(http: httpx.Client, path: str) -> int:
    with http.stream("GET", path) as answer:
        return answer.status_code


async def test_who_stops_listening_to_a_job_lets_go_of_it_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path, [replace(FAST, first_chunk_s=0.2)]) as at:
        job_id = await at.submit()
        view = await at.until(job_id, lambda it: it.done > 0)
        port = JobsPort(at.runner.jobs, FileReader(at.folder), JobSettings(store=str(tmp_path)))
        request = Request({"type": "http", "method": "GET", "headers": []})
        answer = growing_answer(request, port, view, "pcm", edition=None, follow=True)
        live = await at.runner._shelf.get(job_id)
        heard: list[bytes] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            heard.append(message.get("body", b""))
            if heard[-1]:
                assert live.readers == 1
                raise OSError("the client left")

        with pytest.raises(ClientDisconnect):
            await answer(SCOPE, nothing, send)
        assert live.readers == 0
        port.files.close()

"""Voices over HTTP: listed, shown, heard, uploaded, removed, refused."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from serve_app.core.casting import STOCK_NAMES
from serve_app.core.limits import KeyLimits, KeyUsage
from serve_app.errors import NotReadyError, OverloadedError
from serve_app.ingress import routes_voices
from serve_app.ingress.gate import Caller
from serve_app.voice_desk import VoiceDesk
from serve_app.voice_roster import LibraryReplicas, VoiceRoster
from serve_app.voices import VoiceLibrary
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import BODY, ENGINE, Known, client_of, service
from tests.unit.voice_sounds import file_of, speech

SOUND = file_of(speech(1.5, 24_000, 1, -20.0), 24_000, "WAV", "PCM_16")
WITH_LIBRARY = replace(ENGINE, name="vibevoice", library_languages=("en", "zh"))
FORM = {"name": "Ann", "consent": "CC0, recorded by herself"}


class Stage:
    """The service with a library, and a second view of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.roster = VoiceRoster(VoiceLibrary(self.folder))
        self.desk = VoiceDesk(self.roster)
        listed = LibraryReplicas(Known(engine=WITH_LIBRARY), self.roster)
        self.client = client_of(service(FakeReplicas(), listed=listed, voices=self.desk))

    async def upload(self, data: bytes = SOUND, **form: str) -> httpx.Response:
        return await self.client.post(
            "/v1/audio/voices",
            data={**FORM, **form},
            files={"audio_sample": ("ann.wav", data, "audio/wav")},
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path / "voices")
    async with made.client:
        yield made
    made.desk.close()
    await made.roster.close()


async def test_an_uploaded_voice_is_there_at_once_and_everywhere(stage: Stage) -> None:
    assert [voice["id"] for voice in await listed(stage)] == ["alto", "tenor", "alloy"]
    made = await stage.upload()
    assert made.status_code == 200, made.text
    voice_id = made.json()["id"]
    assert made.json()["name"] == "Ann"
    assert [voice["id"] for voice in await listed(stage)] == ["alto", "tenor", voice_id, "alloy"]
    for reference in (voice_id, "Ann", "ann"):
        shown = (await stage.client.get(f"/v1/audio/voices/{reference}")).json()
        assert (shown["id"], shown["source"]) == (voice_id, "library")
        assert shown["consent"] == FORM["consent"]
        assert shown["languages"] == ["en", "zh"]
    spoken = await stage.client.post("/v1/audio/speech", json={**BODY, "voice": "ann"})
    assert spoken.headers["x-speakers"] == f"Narrator={voice_id}"
    assert [voice.id for voice in VoiceLibrary(stage.folder).list().voices] == [voice_id]


@pytest.mark.parametrize("name", ["Alloy", "nova", "narrator", "TENOR", " auto ", "Ａｌｌｏｙ"])
async def test_names_that_mean_something_already_are_refused(stage: Stage, name: str) -> None:
    refused = await stage.upload(name=name)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "name")
    assert "Choose another" in refused.json()["error"]["message"]
    assert VoiceLibrary(stage.folder).list().voices == ()


async def test_samples_are_audio(stage: Stage) -> None:
    voice_id = (await stage.upload()).json()["id"]
    recording = await stage.client.get(f"/v1/audio/voices/{voice_id}/sample")
    assert recording.headers["content-type"] == "audio/flac"
    samples, rate = soundfile.read(io.BytesIO(recording.content))
    assert rate == 24_000
    assert len(samples) / rate == pytest.approx(1.5, abs=0.2)
    for own in ("tenor", "alloy"):
        answer = await stage.client.get(f"/v1/audio/voices/{own}/sample")
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.headers["x-speakers"] == "Narrator=tenor"
        assert len(answer.content) > 10_000


async def test_a_deleted_voice_is_gone(stage: Stage) -> None:
    voice_id = (await stage.upload()).json()["id"]
    assert (await stage.client.delete(f"/v1/audio/voices/{voice_id}")).json()["deleted"] is True
    assert [voice["id"] for voice in await listed(stage)] == ["alto", "tenor", "alloy"]
    for path in (voice_id, f"{voice_id}/sample"):
        assert (await stage.client.get(f"/v1/audio/voices/{path}")).status_code == 404
    for other in (voice_id, "alto", "..%2Fetc"):
        assert (await stage.client.delete(f"/v1/audio/voices/{other}")).status_code == 404


async def test_removing_needs_an_admin(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    voice_id = (await stage.upload()).json()["id"]
    team = Caller("team", False, KeyUsage(KeyLimits()))
    monkeypatch.setattr(routes_voices, "known_caller", lambda _request: team)
    answer = await stage.client.delete(f"/v1/audio/voices/{voice_id}")
    assert answer.status_code == 403
    assert len(await listed(stage)) == 4


@pytest.mark.parametrize(
    ("data", "form", "status", "param"),
    [
        (b"no audio", {}, 400, None),
        (SOUND, {"consent": " "}, 400, "consent"),
        (SOUND, {"name": "a/b"}, 400, "name"),
        (SOUND, {"name": ""}, 400, "name"),
        (bytes(10 * 1024 * 1024 + 1), {}, 413, "audio_sample"),
    ],
)
async def test_bad_uploads_name_the_fault(
    stage: Stage, data: bytes, form: dict[str, str], status: int, param: str | None
) -> None:
    answer = await stage.upload(data, **form)
    assert answer.status_code == status, answer.text
    assert param is None or answer.json()["error"]["param"] == param
    assert len(await listed(stage)) == 3


@pytest.mark.parametrize("missing", ["name", "consent", "audio_sample"])
async def test_all_parts_of_an_upload_are_required(stage: Stage, missing: str) -> None:
    files: dict[str, Any] = {
        **{name: (None, value) for name, value in FORM.items()},
        "audio_sample": ("a.wav", SOUND, "audio/wav"),
    }
    del files[missing]
    answer = await stage.client.post("/v1/audio/voices", files=files)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == missing


@pytest.mark.parametrize(("engine", "says"), [(ENGINE, "vibevoice"), (WITH_LIBRARY, "voices.path")])
async def test_without_a_library_the_answer_says_what_to_configure(engine: Any, says: str) -> None:
    built = service(FakeReplicas(), listed=Known(engine=engine))
    async with client_of(built) as client:
        answers = [
            await client.post(
                "/v1/audio/voices", data=FORM, files={"audio_sample": ("a.wav", SOUND)}
            ),
            await client.delete("/v1/audio/voices/voice_000000000000000000000000"),
        ]
    for answer in answers:
        assert answer.status_code == 400
        assert says in answer.json()["error"]["message"]


async def test_a_slow_store_is_given_up_and_too_many_calls_are_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(VoiceLibrary, "get", lambda *_: released.wait(30))
    desk = VoiceDesk(stage.roster, wait_s=0.02, most=2)
    for _ in range(2):
        with pytest.raises(NotReadyError, match="no answer within"):
            await desk.get("voice_000000000000000000000000")
    with pytest.raises(OverloadedError, match="2 calls"):
        await desk.get("voice_000000000000000000000000")
    released.set()
    desk.close()


async def listed(stage: Stage) -> list[dict[str, Any]]:
    body = (await stage.client.get("/v1/audio/voices")).json()
    assert body["voices"] == body["data"]
    voices: list[dict[str, Any]] = body["data"]
    names = {voice["id"] for voice in voices}
    assert names >= set(STOCK_NAMES)
    return [voice for voice in voices if voice["id"] not in set(STOCK_NAMES) - {"alloy"}]

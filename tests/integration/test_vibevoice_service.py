"""VibeVoice behind a real Ray Serve: a tiny random model, four speakers, two replicas."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

pytest.importorskip("torch")

import soundfile
from ray import serve

from serve_app.app import build
from serve_app.voices import VoiceLibrary
from tests.integration.conftest import SIMULATED, Cluster
from tests.tiny_vibevoice import checkpoint
from tests.unit.voice_sounds import file_of, speech

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATIENCE_S = 30.0
SPEAKERS = ("Ann", "Ben", "Cleo", "Dan")
SCENE = "\n".join(
    f"{SPEAKERS[n % 4]}: This is turn number {n} of a short and rather noisy scene."
    for n in range(8)
)
SOUNDS = [file_of(speech(1.3, 24_000, seed, -20.0), 24_000, "WAV", "PCM_16") for seed in range(5)]
CONSENT = "CC0, spoken by nobody"


@dataclass(frozen=True)
class Stage:
    """The service, with Ann and Ben as recordings and Cleo and Dan in the library."""

    http: httpx.Client
    library: VoiceLibrary
    model: str

    def speak(self, text: str, **more: Any) -> httpx.Response:
        body = {"model": self.model, "voice": "auto", "response_format": "wav", "input": text}
        return self.http.post("/v1/audio/speech", json=body | more)

    def voices(self) -> dict[str, str]:
        """Name by id."""
        listed = self.http.get("/v1/audio/voices").json()["data"]
        return {voice["id"]: voice["name"] for voice in listed}

    def outcome(self, answer: httpx.Response) -> dict[str, Any]:
        body: dict[str, Any] = self.http.get(
            f"/v1/audio/speech/{answer.headers['x-request-id']}"
        ).json()
        return body


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("voices")
    recordings = {}
    for name, sound in zip(("Ann", "Ben"), SOUNDS, strict=False):
        path = folder / f"{name}.wav"
        path.write_bytes(sound)
        recordings[name] = str(path)
    library = VoiceLibrary(str(folder / "library"))
    library.add("Cleo", SOUNDS[2], CONSENT)
    library.add("Dan", SOUNDS[3], CONSENT)
    model = checkpoint(stop_after=30)
    settings = {
        "engine": {
            "kind": "vibevoice",
            "slots": 2,
            "options": {
                "model": str(model),
                "voices": recordings,
                "device": "cpu",
                "steps": 4,
                "threads": 1,
            },
        },
        "voices": {"path": str(folder / "library")},
        "access": {"keys": "off", "drain_timeout_s": 2},
        "cards": "simulated",
        "replicas": 2,
        "replica_cpus": 0.1,
        "telemetry": SIMULATED["telemetry"],
    }
    serve.run(build(settings), name="tiny", route_prefix="/tiny")
    try:
        with httpx.Client(base_url=f"{cluster.url}/tiny", timeout=60) as http:
            yield Stage(http, library, model.name)
    finally:
        serve.delete("tiny")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.1)


def cast_of(answer: httpx.Response) -> dict[str, str]:
    """Voice by speaker, as the answer tells it."""
    pairs = (pair.split("=") for pair in answer.headers["x-speakers"].split(","))
    return {unquote(speaker): unquote(voice) for speaker, voice in pairs}


def test_four_speakers_on_two_replicas_become_a_wav(stage: Stage) -> None:
    answer = stage.speak(SCENE)
    assert answer.status_code == 200, answer.text
    with soundfile.SoundFile(io.BytesIO(answer.content)) as file:
        assert (file.format, file.samplerate, file.channels) == ("WAV", 24_000, 1)
        samples = file.read()
    outcome = stage.outcome(answer)
    assert outcome["status"] == "complete"
    assert outcome["segments_done"] == outcome["segments"] > 3
    assert len(samples) / 24_000 == pytest.approx(outcome["audio_s"], abs=0.01)
    assert outcome["audio_s"] > 4.0 * outcome["segments"]
    assert len(outcome["replicas"]) == 2
    cast = cast_of(answer)
    names = stage.voices()
    assert {speaker: names[voice] for speaker, voice in cast.items()} == {
        name: name for name in SPEAKERS
    }
    assert stage.speak(SCENE).content == answer.content


def test_a_voice_that_is_added_while_it_runs_is_spoken_with(stage: Stage) -> None:
    line = "This is what a newcomer has to say about it."
    before = stage.speak(line, voice="Cleo")
    refused = stage.speak(line, voice="Eve")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_voice")

    added = stage.library.add("Eve", SOUNDS[4], CONSENT)
    wait_until(lambda: added.id in stage.voices())
    by_name, by_id = stage.speak(line, voice="Eve"), stage.speak(line, voice=added.id)
    assert by_name.status_code == 200, by_name.text
    assert list(cast_of(by_name).values()) == [added.id]
    assert by_name.content == by_id.content != before.content

    stage.library.delete(added.id)
    wait_until(lambda: added.id not in stage.voices())
    assert stage.speak(line, voice=added.id).status_code == 400


def test_five_speakers_and_empty_text_start_nothing(stage: Stage) -> None:
    crowd = "\n".join(f"{name}: Hello there." for name in (*SPEAKERS, "Eve"))
    for text, code in ((crowd, "too_many_speakers"), (" \n ", "empty_input")):
        answer = stage.speak(text)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert stage.speak("Ann: But this is spoken.").status_code == 200

"""Voices on their way into the VibeVoice model: from files, and encoded once."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.engines.vibevoice_encoded import EncodedVoices
from serve_app.engines.vibevoice_library import TEST_VOICE, JoinedVoices
from serve_app.engines.vibevoice_voices import FileVoices, checked, content_of
from serve_app.errors import ConfigError, UnknownVoiceError, VoiceAudioError
from serve_app.voice_upload import voice_from_upload
from tests.tiny_vibevoice import ArrayVoices, voice
from tests.unit.voice_sounds import file_of, speech
from tests.vibevoice_engine import tiny


def wav(seed: int = 1, seconds: float = 2.0) -> bytes:
    return file_of(speech(seconds, 24_000, seed, -20.0), 24_000, "WAV", "PCM_16")


class TestFiles:
    def test_a_file_becomes_what_the_same_upload_becomes(self, tmp_path: Path) -> None:
        left, right = speech(2.0, 48_000, 1, -30.0), speech(2.0, 48_000, 2, -30.0)
        data = file_of(np.stack((left, right), axis=1), 48_000, "FLAC", "PCM_16")
        path = tmp_path / "stereo.flac"
        path.write_bytes(data)
        samples = FileVoices({"one": str(path)}).samples("one")
        assert samples.dtype == np.float32
        assert np.array_equal(samples * 32_768, voice_from_upload(data).pcm)

    def test_a_file_that_changes_is_the_voice_that_was_read(self, tmp_path: Path) -> None:
        path = tmp_path / "voice.wav"
        path.write_bytes(wav(1))
        voices = FileVoices({"one": str(path)})
        before, content = voices.samples("one"), content_of(voices)
        path.write_bytes(wav(2))
        assert np.array_equal(voices.samples("one"), before)
        assert content_of(voices) == content != content_of(FileVoices({"one": str(path)}))

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"this is no sound", "unknown kind"),
            (wav(1, 0.4), "0.40 s"),
            (wav(1, 31.0), "31.00 s"),
            (file_of(np.zeros(48_000, np.float32), 24_000, "WAV", "PCM_16"), "silent"),
            (file_of(np.full(48_000, np.nan, np.float32), 24_000, "WAV", "FLOAT"), "not finite"),
            (file_of(speech(600.0, 8_000, 1, -20.0), 8_000, "WAV", "PCM_16"), "600 s"),
        ],
        ids=["garbage", "short", "long", "silent", "nan", "ten-minutes"],
    )
    def test_a_bad_file_is_named_with_the_reason(
        self, data: bytes, why: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "voice.wav"
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=f"'one'.*{why}"):
            FileVoices({"one": str(path)})

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"can't read .*missing\.wav"):
            FileVoices({"one": str(tmp_path / "missing.wav")})


@given(swap=st.booleans(), names=st.permutations(["a", "b", "ab"]))
def test_the_content_is_that_of_all_voices_in_order(swap: bool, names: list[str]) -> None:
    recordings = [voice(1), voice(2), voice(3)]
    same = ArrayVoices(dict(zip(names, recordings, strict=True)))
    other = ArrayVoices(dict(zip(names, recordings[::-1] if swap else recordings, strict=True)))
    assert (content_of(same) == content_of(other)) is not swap


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (np.full(48_000, np.nan, np.float32), "NaN"),
        (np.ones((48_000, 2), np.float32), "mono"),
        (np.zeros(48_000, np.float32), "silent"),
        (voice(1, 0.5), "0.5 s"),
        (voice(1, 600.0), "600.0 s"),
    ],
)
def test_nothing_else_reaches_the_model(samples: np.ndarray, why: str) -> None:
    with pytest.raises(VoiceAudioError, match=why):
        checked("bad", samples)


def test_the_test_voice_is_always_there() -> None:
    voices = JoinedVoices(ArrayVoices(), None)
    checked(TEST_VOICE, voices.samples(TEST_VOICE))
    assert voices.ids == ("v1", "v2", "v3", "v4")
    with pytest.raises(UnknownVoiceError, match="'v5'"):
        voices.samples("v5")


class TestEncoded:
    @settings(max_examples=10)
    @given(samples=st.integers(24_000, 48_000))
    def test_frames_are_known_before(self, samples: int) -> None:
        voices = EncodedVoices(tiny(), ArrayVoices({"one": voice(1, 3.0)[:samples]}))
        with torch.inference_mode():
            assert voices.frames("one") == voices.features("one").shape[0]

    def test_each_recording_once_up_to_the_bound(self) -> None:
        recordings = {name: voice(seed) for seed, name in enumerate("abc")}
        recordings["twin"] = recordings["a"].copy()
        with torch.inference_mode():
            one = EncodedVoices(tiny(), ArrayVoices(recordings)).features("a")
            voices = EncodedVoices(tiny(), ArrayVoices(recordings), 2 * one.nbytes)
            tower = tiny().model.model.audio_tower
            with mock.patch.object(tower, "encode", wraps=tower.encode) as encode:
                for name in ("a", "twin", "a", "b"):
                    voices.features(name)
                assert encode.call_count == 2
                assert voices.new_s(["a", "twin", "b"]) == 0
                voices.features("c")  # "b" and "c" were used last
                assert voices.new_s(["b", "c"]) == 0
                assert voices.new_s(["a", "c"]) == len(recordings["a"]) / 24_000
                assert torch.equal(voices.features("twin"), one)
                assert encode.call_count == 4
            voices.forget()
            assert voices.new_s(["b"]) > 0

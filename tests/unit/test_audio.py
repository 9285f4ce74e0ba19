"""Samples and bytes, levels, and WAV headers that other readers understand."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serve_app.core.audio import (
    FRAME_SAMPLES,
    FULL_SCALE,
    SAMPLE_RATE_HZ,
    Pcm,
    bytes_from_pcm,
    duration_s,
    energy,
    finite_to_pcm,
    frame_energies,
    pcm_from_bytes,
    power_limit,
    samples_of,
    silence,
    wav_header,
)
from serve_app.engines import base
from serve_app.errors import BadAudioError

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

pcms = arrays(np.int16, st.integers(0, 700))


def test_the_rate_is_the_engines() -> None:
    assert SAMPLE_RATE_HZ == base.SAMPLE_RATE_HZ


@untimed
@given(pcms)
def test_bytes_and_samples_are_the_same_thing(pcm: Pcm) -> None:
    data = bytes_from_pcm(pcm)
    assert np.array_equal(pcm_from_bytes(data), pcm)
    assert data == b"".join(int(x).to_bytes(2, "little", signed=True) for x in pcm)


@untimed
@given(st.binary().filter(lambda data: len(data) % 2 == 1))
def test_half_a_sample_is_refused(data: bytes) -> None:
    with pytest.raises(BadAudioError, match=f"{len(data)} bytes"):
        pcm_from_bytes(data)


@untimed
@given(st.integers(0, 10**9))
def test_lengths_survive_seconds(samples: int) -> None:
    assert samples_of(duration_s(samples)) == samples


def test_silence_is_zeros() -> None:
    assert silence(3).dtype == np.int16
    assert silence(3).tolist() == [0, 0, 0]


@untimed
@given(pcms)
def test_energies_are_exact(pcm: Pcm) -> None:
    whole = len(pcm) // FRAME_SAMPLES
    squares = [int(x) ** 2 for x in pcm]
    frames = [sum(squares[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES]) for i in range(whole)]
    assert frame_energies(pcm).tolist() == frames
    assert energy(pcm) == sum(squares)


def test_the_loudest_frame_does_not_overflow() -> None:
    loudest = np.full(FRAME_SAMPLES, -FULL_SCALE, dtype=np.int16)
    assert frame_energies(loudest).tolist() == [FRAME_SAMPLES * FULL_SCALE**2]


def test_levels_as_powers() -> None:
    assert power_limit(0) == FULL_SCALE**2
    assert power_limit(-20) == round(FULL_SCALE**2 / 100)
    assert power_limit(-300) == 1, "zeros must count as silence at any limit"


@untimed
@given(arrays(np.float32, st.integers(0, 50), elements=st.floats(-1, 1, width=32)))
def test_floats_become_samples(samples: np.ndarray) -> None:
    pcm = finite_to_pcm(samples)
    assert pcm.dtype == np.int16
    assert np.all(np.abs(pcm / 32767 - samples) <= 0.51 / 32767)


def test_floats_beyond_full_scale_are_clipped() -> None:
    assert finite_to_pcm(np.array([1.5, -7.0, 1.0, -1.0])).tolist() == [32767, -32767] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(bad: float) -> None:
    samples = np.zeros(48_000)
    samples[[24_000, 30_000]] = bad
    with pytest.raises(BadAudioError, match=r"2 of 48000 samples .* 1\.000 s"):
        finite_to_pcm(samples)


@untimed
@given(pcms, st.sampled_from(["", "odd", "even", "AI-generated speech"]))
def test_a_wav_of_known_length_is_read_by_others(pcm: Pcm, comment: str) -> None:
    data = wav_header(len(pcm), comment) + bytes_from_pcm(pcm)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with wave.open(io.BytesIO(data)) as reader:
        assert reader.getparams()[:4] == (1, 2, SAMPLE_RATE_HZ, len(pcm))
        assert reader.readframes(len(pcm)) == bytes_from_pcm(pcm)
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        assert (sound.samplerate, sound.channels, sound.subtype) == (24_000, 1, "PCM_16")
        assert sound.comment == comment
        assert np.array_equal(sound.read(dtype="int16"), pcm)


@untimed
@given(arrays(np.int16, st.integers(1, 700)))
def test_a_streamed_wav_is_read_to_its_end(pcm: Pcm) -> None:
    header = wav_header(None, "mark")
    assert header[4:8] == header[-4:] == b"\xff\xff\xff\xff"
    with soundfile.SoundFile(io.BytesIO(header + bytes_from_pcm(pcm))) as sound:
        assert np.array_equal(sound.read(dtype="int16"), pcm)


def test_a_header_without_a_comment_has_the_classic_44_bytes() -> None:
    assert len(wav_header(10)) == 44


@pytest.mark.parametrize("samples", [-1, 2**31])
def test_what_no_wav_can_hold_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match=str(samples)):
        wav_header(samples)

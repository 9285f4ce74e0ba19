"""What is encoded can be decoded by others: whole, cut off, and the same for any chunking."""

from __future__ import annotations

import io
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from serve_app.core.audio import Pcm, bytes_from_pcm, samples_of
from serve_app.encode import AI_MARK, FORMATS, Tags, open_encoder
from serve_app.encode_tags import MAX_TEXT_BYTES, clean
from serve_app.errors import UnknownFormatError

LOSSLESS = ("wav", "flac", "pcm")
TAGGED = [name for name, audio_format in FORMATS.items() if audio_format.carries_tags]
DECODED_HZ = {"opus": 48_000}
"""Opus decodes at its own rate."""


def speech(samples: int) -> Pcm:
    """Noise through a slow low-pass filter, louder and softer three times a second."""
    rng = np.random.default_rng(7)
    noise = np.convolve(rng.standard_normal(samples + 31), np.ones(32) / 32, "valid")[:samples]
    swell = 0.55 + 0.45 * np.sin(np.arange(samples) / 24_000 * 2 * np.pi * 3)
    return np.rint(20_000 * noise * swell).astype(np.int16)


def encoded(name: str, pcm: Pcm, sizes: list[int]) -> bytes:
    encoder = open_encoder(name)
    out = []
    at = 0
    for size in [*sizes, len(pcm)]:
        out.append(encoder.encode(pcm[at : at + size]))
        at += size
    out.append(encoder.close())
    encoder.abort()
    return b"".join(out)


def decoded(name: str, data: bytes, *, cut: bool = False) -> np.ndarray:
    """Samples as FFmpeg reads them, full scale 32768; a *cut* file may end inside a frame."""
    if name == "pcm":
        return np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(float)
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        rate_hz = DECODED_HZ.get(name, 24_000)
        assert (stream.rate, stream.channels) == (rate_hz, 1)
        frames: list[np.ndarray[Any, Any]] = []
        with suppress(av.error.InvalidDataError) if cut else nullcontext():
            frames.extend(frame.to_ndarray()[0] for frame in container.decode(stream))
    samples = np.concatenate(frames)[:: rate_hz // 24_000]
    return samples * 32_768.0 if samples.dtype.kind == "f" else samples.astype(float)


@pytest.mark.parametrize("name", FORMATS)
@given(
    length=st.integers(0, 30_000),
    sizes=st.lists(st.sampled_from([0, 1, 119, 575, 576, 2_304, 4_800, 9_999]), max_size=12),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_chunking_gives_the_same_bytes(name: str, length: int, sizes: list[int]) -> None:
    pcm = speech(length)
    assert encoded(name, pcm, sizes) == encoded(name, pcm, [])


@pytest.mark.parametrize("name", LOSSLESS)
@given(length=st.integers(1, 30_000))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_lossless_formats_give_back_every_sample(name: str, length: int) -> None:
    pcm = speech(length)
    assert np.array_equal(decoded(name, encoded(name, pcm, [700])), pcm)


def test_extreme_samples_survive_flac() -> None:
    pcm = np.tile(np.array([-32_768, 32_767, 0, 1, -1], dtype=np.int16), 5_000)
    assert np.array_equal(decoded("flac", encoded("flac", pcm, [700])), pcm)


def test_other_readers_agree() -> None:
    pcm = speech(50_000)
    streamed_wav = encoded("wav", pcm, [4_800] * 9)
    with wave.open(io.BytesIO(streamed_wav)) as reader:
        assert reader.readframes(len(pcm) + 1) == bytes_from_pcm(pcm)
    with soundfile.SoundFile(io.BytesIO(streamed_wav)) as sound:
        assert np.array_equal(sound.read(dtype="int16"), pcm)
    with soundfile.SoundFile(io.BytesIO(encoded("mp3", pcm, [4_800] * 9))) as sound:
        assert sound.samplerate == 24_000
        assert len(sound.read()) >= len(pcm)


def best_match(heard: np.ndarray, pcm: Pcm) -> tuple[float, int]:
    """Highest correlation of *heard* with *pcm* over delays up to 0.1 s, and that delay."""
    best = (-1.0, 0)
    for delay in range(2_400):
        piece = heard[delay : delay + len(pcm)]
        if len(piece) < len(pcm):
            break
        best = max(best, (float(np.corrcoef(piece, pcm)[0, 1]), delay))
    return best


@pytest.mark.parametrize("name", ["mp3", "opus", "aac"])
def test_lossy_formats_sound_like_the_original_and_are_about_as_long(name: str) -> None:
    pcm = speech(60_000)
    heard = decoded(name, encoded(name, pcm, [4_800] * 12))
    assert 0 <= len(heard) - len(pcm) <= 3 * 1_152
    correlation, delay = best_match(heard, pcm[:12_000])
    assert correlation > 0.98
    assert delay < samples_of(0.06), "the codec's own delay"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.75])
def test_a_stream_that_breaks_off_is_readable_up_to_there(name: str, share: float) -> None:
    pcm = speech(72_000)
    encoder = open_encoder(name)
    data = b"".join(encoder.encode(pcm[at : at + 2_400]) for at in range(0, len(pcm), 2_400))
    encoder.abort()
    heard = decoded(name, data[: int(share * len(data))], cut=True)
    # Less a page or frame that was cut; what a byte carries varies.
    assert share * len(pcm) - 9_000 < len(heard) < share * len(pcm) + 6_000
    if name in LOSSLESS:
        assert np.array_equal(heard, pcm[: len(heard)])
    else:
        correlation, _ = best_match(heard[3_000:], pcm[3_000 : len(heard) - 6_000])
        assert correlation > 0.98


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_leave_while_samples_come(name: str) -> None:
    encoder = open_encoder(name)
    sizes = [len(encoder.encode(chunk)) for chunk in np.split(speech(48_000), 10)]
    assert sum(sizes[:2]) > 200, "the first bytes of sound leave within 0.4 s"
    assert all(sizes[2:]), "each 0.2 s push some out"
    assert encoder.close() is not None


def tags_of(data: bytes) -> dict[str, str]:
    with av.open(io.BytesIO(data)) as container:
        return container.metadata | container.streams.audio[0].metadata


@pytest.mark.parametrize("name", TAGGED)
def test_the_file_says_that_a_machine_spoke(name: str) -> None:
    data = encoded(name, speech(9_000), [])
    assert tags_of(data)["comment"] == AI_MARK
    assert AI_MARK.encode() in data[:200], "also where only the beginning is kept"


@pytest.mark.parametrize("name", TAGGED)
@given(title=st.text(max_size=300), speaker=st.text(max_size=300))
@example(title="\x00\udcff\n", speaker="Ann")
@example(title="第一章 爱丽丝", speaker='Ünal; "=\\')
@settings(max_examples=25, deadline=None)
def test_title_and_speakers_are_kept_as_one_line_each(name: str, title: str, speaker: str) -> None:
    encoder = open_encoder(name, Tags(title, (speaker, "Bob")))
    said = tags_of(encoder.encode(speech(9_000)) + encoder.close())
    assert said["comment"] == AI_MARK
    assert said.get("title", "") == clean(title)
    assert said["artist"] == clean(f"{clean(speaker)}, Bob")


@given(text=st.text(max_size=400))
def test_a_tag_is_short_printable_and_settled(text: str) -> None:
    line = clean(text)
    assert len(line.encode()) <= MAX_TEXT_BYTES
    assert line == line.strip()
    assert line.isprintable()
    assert clean(line) == line


def test_only_raw_samples_have_no_place_for_a_mark() -> None:
    assert set(FORMATS) - set(TAGGED) == {"pcm"}


@pytest.mark.parametrize("name", FORMATS)
def test_samples_may_lie_apart_in_memory(name: str) -> None:
    pcm = speech(9_000)[::2]
    assert encoded(name, pcm, []) == encoded(name, pcm.copy(), [])


def test_raw_samples_are_nothing_but_samples() -> None:
    pcm = speech(1_000)
    assert encoded("pcm", pcm, [300]) == bytes_from_pcm(pcm)


@pytest.mark.parametrize("name", FORMATS)
def test_closing_and_aborting_can_be_repeated(name: str) -> None:
    for feed in (False, True):
        encoder = open_encoder(name)
        if feed:
            encoder.encode(speech(9_000))
        encoder.abort()
        encoder.abort()
    encoder = open_encoder(name)
    encoder.encode(speech(9_000))
    assert encoder.close() is not None
    encoder.abort()


def test_a_stream_without_samples_is_an_empty_file() -> None:
    with soundfile.SoundFile(io.BytesIO(encoded("wav", speech(0), []))) as sound:
        assert len(sound.read()) == 0
    assert encoded("pcm", speech(0), []) == b""
    assert len(encoded("flac", speech(0), [])) < 200, "no room is kept for what can't be written"


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(UnknownFormatError, match="mp3, opus, aac, flac, wav, pcm") as caught:
        open_encoder("midi")
    assert caught.value.param == "response_format"


def test_formats_are_keyed_by_their_name() -> None:
    assert list(FORMATS) == ["mp3", "opus", "aac", "flac", "wav", "pcm"], "all six of OpenAI"
    for name, audio_format in FORMATS.items():
        assert audio_format.name == name
        assert audio_format.media_type.startswith("audio/")


@pytest.mark.parametrize("name", FORMATS)
def test_worker_threads_encode_side_by_side(name: str) -> None:
    pcm = speech(48_000)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _n: encoded(name, pcm, [4_800] * 9), range(8)))
    assert set(made) == {encoded(name, pcm, [])}

"""Uploads: what becomes a voice stands at the level, in bounds; nothing else gets through."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serve_app.core.audio import FRAME_SAMPLES, SILENCE_DBFS, Pcm, frame_energies, power_limit
from serve_app.core.level import level_steps
from serve_app.core.voice_audio import TARGET_DBFS, VoiceRules, voice_pcm
from serve_app.core.voice_bytes import container_of
from serve_app.errors import InvalidInputError, VoiceAudioError
from serve_app.voice_file import MAX_UPLOAD_BYTES, decode_flac, decode_upload, encode_flac
from serve_app.voice_upload import VoiceAudio, voice_from_upload
from tests.unit.voice_sounds import file_of, speech

KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]
EXACT_KINDS = KINDS[:3] + KINDS[4:5]
kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 2**32 - 1)


def loud_frames(pcm: Pcm) -> NDArray[np.intp]:
    return np.flatnonzero(frame_energies(pcm) >= power_limit(SILENCE_DBFS) * FRAME_SAMPLES)


def assert_voice(voice: VoiceAudio) -> None:
    pcm = voice.pcm
    assert pcm.dtype == np.int16
    assert pcm.ndim == 1
    assert 24_000 <= len(pcm) <= 30 * 24_000
    loud = loud_frames(pcm)
    energy = int(frame_energies(pcm)[loud].sum())
    level_db = level_steps(energy, len(loud) * FRAME_SAMPLES) / 4
    assert abs(level_db - TARGET_DBFS) <= 0.25
    assert loud[0] <= 10, "more than 50 ms of silence at the start"
    assert len(pcm) // FRAME_SAMPLES - 1 - loud[-1] <= 10, "more than 50 ms of silence at the end"


@settings(max_examples=60)
@given(
    kind=kinds,
    seed=seeds,
    shape=st.tuples(st.sampled_from([8_000, 16_000, 24_000, 48_000]), st.booleans()),
    seconds=st.tuples(st.floats(0.0, 1.0), st.floats(1.3, 5.0), st.floats(0.0, 1.0)),
    level=st.floats(-38.0, -12.0),
)
def test_speech_of_any_kind_becomes_a_voice_at_the_level(
    *,
    kind: tuple[str, str],
    seed: int,
    shape: tuple[int, bool],
    seconds: tuple[float, float, float],
    level: float,
) -> None:
    (rate, stereo), (lead_s, sound_s, tail_s) = shape, seconds
    lead, tail = (np.zeros(round(s * rate), np.float32) for s in (lead_s, tail_s))
    mono = np.concatenate((lead, speech(sound_s, rate, seed, level), tail))
    samples = np.stack((mono, mono * np.float32(0.5)), axis=1) if stereo else mono
    voice = voice_from_upload(file_of(samples, rate, *kind))
    assert_voice(voice)
    assert abs(len(voice.pcm) / 24_000 - sound_s) < 0.4
    assert voice.source.split()[1] == kind[1]
    assert (voice.source_rate_hz, voice.source_channels) == (rate, 1 + stereo)


@settings(max_examples=60)
@given(
    parts=st.lists(
        st.tuples(st.floats(0.005, 3.0), st.floats(-90.0, 3.0), st.sampled_from(["tone", "noise"])),
        min_size=1,
        max_size=8,
    ),
    seed=seeds,
)
def test_any_signal_becomes_a_voice_or_is_refused(
    parts: list[tuple[float, float, str]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pieces = []
    for seconds, level, kind in parts:
        n = round(seconds * 24_000)
        wave = np.sin(np.arange(n) * 0.07) * 1.41 if kind == "tone" else rng.standard_normal(n)
        pieces.append((wave * 10 ** (level / 20)).astype(np.float32))
    try:
        voice = voice_from_upload(file_of(np.concatenate(pieces), 24_000, "WAV", "FLOAT"))
    except VoiceAudioError:
        return
    assert_voice(voice)


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            bytes.__add__,
            st.sampled_from(
                [b"RIFF\xff\xff\xff\xffWAVE", b"fLaC", b"OggS", b"ID3\x04\x00", b"\xff\xfb\x90\x64"]
            ),
            st.binary(max_size=2_000),
        ),
    )
)
def test_garbage_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(VoiceAudioError) as caught:
        voice_from_upload(data)
    assert caught.value.status == 400
    assert isinstance(caught.value, InvalidInputError)


@settings(max_examples=200)
@given(kind=kinds, edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=40)), max_size=6))
def test_a_file_with_wrong_bytes_becomes_a_voice_or_is_refused(
    kind: tuple[str, str], edits: list[tuple[float, bytes]]
) -> None:
    data = bytearray(WHOLE[kind])
    for place, patch in edits:
        # Most of the structure of every container stands in its first bytes.
        at = int(place**4 * len(data))
        data[at : at + len(patch)] = patch
    try:
        voice = voice_from_upload(bytes(data))
    except VoiceAudioError:
        return
    assert_voice(voice)


WHOLE = {kind: file_of(speech(2.5, 24_000, 7, -20.0), 24_000, *kind) for kind in KINDS}


@settings(max_examples=100)
@given(kind=kinds, share=st.floats(0.0, 0.9))
def test_a_file_that_ends_early_is_never_taken_for_a_short_one(
    kind: tuple[str, str], share: float
) -> None:
    data = WHOLE[kind]
    assert_voice(voice_from_upload(data))
    with pytest.raises(VoiceAudioError):
        voice_from_upload(data[: int(len(data) * share)])


@given(kind=st.sampled_from(EXACT_KINDS), rate=st.sampled_from([8_000, 24_000]), seed=seeds)
def test_an_offset_makes_no_difference(kind: tuple[str, str], rate: int, seed: int) -> None:
    silence = np.zeros(rate // 2, np.float32)
    samples = np.concatenate((silence, speech(2.0, rate, seed, -30.0), silence))
    plain = voice_from_upload(file_of(samples, rate, *kind))
    shifted = voice_from_upload(file_of(samples + np.float32(0.25), rate, *kind))
    assert np.abs(plain.pcm.astype(int) - shifted.pcm).max() <= 8


def mp3(samples: NDArray[np.float32], rate: int, *, indexed: bool, variable: bool) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp3", options={"write_xing": str(int(indexed))}) as out:
        options = {"global_quality": "4", "flags": "+qscale"} if variable else {}
        track = out.add_stream("libmp3lame", rate=rate, options=options)
        track.layout, track.format, track.time_base = "mono", "fltp", Fraction(1, rate)
        for at in range(0, len(samples), 1152):
            frame = av.AudioFrame.from_ndarray(samples[None, at : at + 1152], "fltp", "mono")
            frame.sample_rate, frame.pts = rate, at
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return stream.getvalue()


@pytest.mark.parametrize(("indexed", "variable"), [(True, True), (True, False), (False, False)])
def test_mp3_is_read_whole_and_in_place(indexed: bool, variable: bool) -> None:
    samples = speech(4.0, 44_100, 3, -20.0)
    heard = decode_upload(mp3(samples, 44_100, indexed=indexed, variable=variable)).mono
    lag = 0 if indexed else 1105
    heard = heard[lag : lag + len(samples)]
    assert len(heard) >= len(samples) - 2304
    assert np.corrcoef(heard, samples[: len(heard)])[0, 1] > 0.98


def test_mp3_of_unknown_length_is_refused_instead_of_shortened() -> None:
    samples = np.concatenate((speech(2.0, 44_100, 3, -20.0), speech(2.0, 44_100, 4, -20.0)))
    data = mp3(samples, 44_100, indexed=False, variable=True)
    with pytest.raises(VoiceAudioError, match=r"true length|cut off"):
        decode_upload(data)
    joined = mp3(samples, 44_100, indexed=True, variable=True) * 2
    with pytest.raises(VoiceAudioError, match="true length"):
        decode_upload(joined)


def tagged(data: bytes) -> bytes:
    return data + b"TAG" + bytes(125)


def test_what_stands_behind_the_sound_does_no_harm() -> None:
    assert_voice(voice_from_upload(tagged(WHOLE["MP3", "MPEG_LAYER_III"])))
    streamed = bytearray(WHOLE["WAV", "PCM_16"])
    at = streamed.index(b"data")
    streamed[4:8] = streamed[at + 4 : at + 8] = b"\xff" * 4
    assert_voice(voice_from_upload(bytes(streamed)))


def wav(samples: NDArray[np.float32], rate: int = 24_000, subtype: str = "FLOAT") -> bytes:
    return file_of(samples, rate, "WAV", subtype)


GOOD = speech(3.0, 24_000, 1, -20.0)


def with_value(value: float) -> NDArray[np.float32]:
    samples = GOOD.copy()
    samples[1000] = value
    return samples


REFUSED = {
    "empty": (b"", "empty"),
    "too many bytes": (bytes(MAX_UPLOAD_BYTES + 1), "limit is 10485760"),
    "m4a": (b"\0\0\0\x20ftypM4A " + bytes(100), "M4A"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(100), "WebM"),
    "aac": (b"\xff\xf1\x50\x80" + bytes(100), "unknown kind"),
    "text": (b"Hello there", "unknown kind"),
    "aiff": (file_of(GOOD, 24_000, "AIFF", "PCM_16"), "AIFF"),
    "adpcm": (wav(GOOD, subtype="MS_ADPCM"), "MS_ADPCM"),
    "no samples": (wav(GOOD[:0]), "empty"),
    "0.5 s": (wav(GOOD[:12_000]), "0.50 s long"),
    "31 s": (wav(np.tile(GOOD, 11)[: 31 * 24_000], subtype="PCM_16"), "31.* s long"),
    "ten minutes": (file_of(np.tile(GOOD[:48_000], 300) * 0, 24_000, "FLAC", "PCM_16"), "600 s"),
    "4 kHz": (wav(speech(3.0, 4_000, 1, -20.0), 4_000), "4000 Hz"),
    "192 kHz": (wav(speech(1.5, 192_000, 1, -20.0), 192_000), "192000 Hz"),
    "3 channels": (wav(np.stack([GOOD] * 3, axis=1)), "3 channels"),
    "nan": (wav(with_value(np.nan)), "1 of 72000 samples are not finite"),
    "infinite": (wav(with_value(-np.inf)), "not finite"),
    "huge": (wav(with_value(1e30)), "times full scale"),
    "silent": (wav(GOOD * 0), "silent"),
    "only an offset": (wav(GOOD * 0 + np.float32(0.3)), "silent"),
    "channels that cancel": (wav(np.stack((GOOD, -GOOD), axis=1)), "silent"),
    "too quiet": (wav(speech(3.0, 24_000, 1, -50.0)), "too quiet"),
    "two beeps": (wav(np.concatenate((GOOD[:4800], GOOD[:48_000] * 0, GOOD[:4800]))), "of sound"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_the_reason(what: str) -> None:
    data, reason = REFUSED[what]
    with pytest.raises(VoiceAudioError, match=reason) as caught:
        voice_from_upload(data)
    assert caught.value.code == "invalid_voice_audio"
    assert caught.value.param == "audio_sample"


@pytest.mark.parametrize("height", [1.0, 4.5, 9.5])
@pytest.mark.parametrize("every", [3600, 12_000, 72_000])
def test_bangs_never_make_a_voice_of_their_own(height: float, every: int) -> None:
    samples = speech(3.0, 24_000, 1, -40.0)
    samples[600::every] = height
    try:
        pcm = voice_pcm(samples)
    except VoiceAudioError:
        return
    # What lies between the bangs stands where it can be heard.
    typical = np.median(frame_energies(pcm) / FRAME_SAMPLES)
    assert 10 * np.log10(typical) - 20 * np.log10(32_768) > TARGET_DBFS - 12


def test_a_click_far_above_the_speech_is_named() -> None:
    samples = speech(3.0, 24_000, 1, -38.0)
    samples[600::24_000] = 9.0
    with pytest.raises(VoiceAudioError, match="bangs"):
        voice_pcm(samples)


def test_a_knock_is_not_taken_for_the_only_sound() -> None:
    samples = speech(6.0, 24_000, 1, -32.0)
    # At a gain of -23 dB nothing else would count as sound.
    samples[600:1200] = np.sign(samples[600:1200])
    assert len(voice_pcm(samples)) > 5.9 * 24_000


def test_a_knock_that_would_set_the_level_is_refused() -> None:
    samples = speech(3.0, 24_000, 1, -38.0)
    samples[600:1320] = 0.99 * np.sin(np.arange(720) * 0.3)
    with pytest.raises(VoiceAudioError, match="bangs"):
        voice_pcm(samples)


@given(seed=seeds, gain_db=st.floats(-12, 12))
def test_the_level_of_the_recording_makes_no_difference(seed: int, gain_db: float) -> None:
    samples = speech(2.0, 24_000, seed, -22.0)
    once = voice_pcm(samples)
    again = voice_pcm(samples * np.float32(10 ** (gain_db / 20)))
    assert len(once) == len(again)
    ratio = np.sqrt((once.astype(float) ** 2).mean() / (again.astype(float) ** 2).mean())
    assert abs(20 * np.log10(ratio)) <= 0.5


@given(seconds=st.floats(0.6, 3.4), least=st.floats(1.0, 2.0), most=st.floats(2.0, 3.0))
def test_length_is_judged_without_the_silence_at_the_ends(
    seconds: float, least: float, most: float
) -> None:
    n = round(seconds * 200) * FRAME_SAMPLES
    tone = np.sin(np.arange(n) * np.pi / 20) * 0.1
    padded = np.concatenate((np.zeros(24_000), tone, np.zeros(36_000))).astype(np.float32)
    length_s = n / 24_000 + 0.1
    rules = VoiceRules(min_s=least, max_s=most)
    if least <= length_s <= most:
        assert len(voice_pcm(padded, rules)) == n + 2400
    else:
        with pytest.raises(VoiceAudioError, match="s long"):
            voice_pcm(padded, rules)


@given(st.binary(min_size=2, max_size=2_000))
def test_kept_audio_is_lossless_and_nothing_else_is_read_as_such(data: bytes) -> None:
    pcm = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)
    assert np.array_equal(decode_flac(encode_flac(pcm)), pcm)
    with pytest.raises(ValueError, match="stored audio"):
        decode_flac(data)


@pytest.mark.parametrize(("rate", "subtype"), [(22_050, "PCM_16"), (24_000, "PCM_24")])
def test_stored_audio_of_another_kind_is_not_read(rate: int, subtype: str) -> None:
    with pytest.raises(ValueError, match="stored audio"):
        decode_flac(file_of(GOOD, rate, "FLAC", subtype))


@pytest.mark.parametrize("kind", KINDS)
def test_containers_are_known_by_their_bytes(kind: tuple[str, str]) -> None:
    assert container_of(WHOLE[kind]) == kind[0]


@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_the_container_makes_no_difference(kind: tuple[str, str]) -> None:
    rounded = (np.rint(GOOD * 32_768) / 32_768).astype(np.float32)
    plain = voice_from_upload(wav(rounded)).pcm
    assert np.array_equal(voice_from_upload(file_of(rounded, 24_000, *kind)).pcm, plain)


def test_soundfile_still_reads_a_cut_mp3_without_an_error() -> None:
    """The trap that the frame count guards against; if this fails the guard may go."""
    data = WHOLE["MP3", "MPEG_LAYER_III"]
    samples, _ = sf.read(io.BytesIO(data[: len(data) // 2]))
    assert 0 < len(samples) < 0.6 * 2.5 * 24_000

"""Loudness as an independent meter reads it; true peaks as two others do; files at their target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm, silence
from serve_app.core.limiter import LAG_SAMPLES, Limiter
from serve_app.core.loudness import LoudnessRules, decibels
from serve_app.core.peak import PeakMeter
from serve_app.encode_file import FILE_FORMATS
from serve_app.finish import finish_file
from serve_app.loudness import levelling, limited, measure
from tests.unit.test_encode import speech

SECOND = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ


def sine(hz: float, seconds: float = 2.0, amplitude: float = 0.99, phase: float = 0.4) -> Pcm:
    at = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.rint(32_767 * amplitude * np.sin(2 * np.pi * hz * at + phase)).astype(np.int16)


def noise(samples: int, spread: float, seed: int = 1) -> Pcm:
    drawn = np.random.default_rng(seed).standard_normal(samples) * spread
    return np.clip(np.rint(drawn), -32_768, 32_767).astype(np.int16)


def bursts(samples: int) -> Pcm:
    """Speech-like sound with long pauses, some of it far too quiet to count."""
    pcm = speech(samples).astype(float)
    steps = np.repeat(np.tile([1.0, 0.3, 0.001, 0.0, 0.6], samples // 24_000 + 1), 4_800)
    shaped: Pcm = np.rint(pcm * steps[:samples]).astype(np.int16)
    return shaped


def cut(pcm: Pcm, sizes: Iterable[int]) -> Iterator[Pcm]:
    at = 0
    for size in sizes:
        yield pcm[at : at + size]
        at += size
    yield pcm[at:]


def source(pcm: Pcm) -> Callable[[], Iterable[Pcm]]:
    return lambda: [pcm]


def through(limiter: Limiter, chunks: Iterable[Pcm]) -> Pcm:
    return np.concatenate([*(limiter.push(chunk) for chunk in chunks), limiter.close()])


def interpolated_dbtp(pcm: Pcm) -> float:
    """True peak by scipy's own interpolation, eight times over."""
    return decibels(float(np.abs(resample_poly(pcm / 32_768, 8, 1)).max()))


def ffmpeg_dbtp(pcm: Pcm) -> float:
    """True peak as FFmpeg's EBU R128 filter reads it."""
    graph = av.filter.Graph()
    start = graph.add_abuffer(
        sample_rate=SAMPLE_RATE_HZ,
        format="s16",
        layout="mono",
        time_base=Fraction(1, SAMPLE_RATE_HZ),
    )
    meter, end = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
    start.link_to(meter)
    meter.link_to(end)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, 0
    graph.push(frame)
    graph.push(None)
    peak = 0.0
    while True:
        try:
            peak = float(graph.pull().metadata["lavfi.r128.true_peak"])
        except (av.BlockingIOError, av.EOFError):
            return decibels(peak)


MATERIAL = {
    "speech": speech(240_000),
    "bursts": bursts(240_000),
    "noise": noise(120_000, 3_000),
    "clipped noise": noise(120_000, 30_000),
    **{f"{hz} Hz": sine(hz) for hz in (50, 100, 500, 997, 3_000, 8_000, 11_500)},
}


@pytest.mark.parametrize("name", MATERIAL)
def test_loudness_is_what_another_meter_reads(name: str) -> None:
    pcm = MATERIAL[name]
    expected = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(pcm / 32_768)
    assert measure([pcm]).integrated_lufs == pytest.approx(expected, abs=0.05)


@given(
    levels=st.lists(st.integers(-90, 0), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_loudness_agrees_whatever_the_gates_let_through(levels: list[int], seed: int) -> None:
    steps = np.repeat(10 ** (np.array(levels) / 20), 12_000)
    white = np.random.default_rng(seed).uniform(-1, 1, len(steps))
    pcm = np.rint(white * steps * 32_767).astype(np.int16)
    expected = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(pcm / 32_768)
    found = measure([pcm]).integrated_lufs
    assert found == expected == -math.inf or found == pytest.approx(expected, abs=0.05)


def test_a_full_tone_reads_what_the_standard_says() -> None:
    assert measure([sine(997, 5, amplitude=1.0)]).integrated_lufs == pytest.approx(-3.01, abs=0.03)


@given(sizes=st.lists(st.integers(0, 30_000), max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_chunking_measures_the_same(sizes: list[int]) -> None:
    pcm = bursts(72_001)
    assert measure(cut(pcm, sizes)) == measure([pcm])


def test_what_has_no_loudness_says_so() -> None:
    for pcm in (silence(0), silence(50_000), noise(9_599, 3_000)):
        found = measure([pcm])
        assert found.integrated_lufs == -math.inf
        assert found.samples == len(pcm)
    assert measure([silence(50_000)]).true_peak_dbtp == -math.inf
    assert math.isfinite(measure([noise(9_600, 3_000)]).integrated_lufs), "0.4 s are enough"


@pytest.mark.parametrize("name", MATERIAL)
def test_true_peak_is_what_others_interpolate(name: str) -> None:
    pcm = MATERIAL[name]
    # Four points a sample miss up to 0.7 dB of white noise's highest swings; so do others.
    tolerance_db = 0.7 if "noise" in name else 0.35
    found = measure([pcm]).true_peak_dbtp
    assert found == pytest.approx(interpolated_dbtp(pcm), abs=tolerance_db)
    assert found >= decibels(np.abs(pcm.astype(int)).max() / 32_768)


def test_a_peak_between_samples_is_found() -> None:
    pcm = sine(6_000, amplitude=1.0, phase=math.pi / 4)
    assert np.abs(pcm.astype(int)).max() < 23_200, "no sample is near it"
    assert measure([pcm]).true_peak_dbtp == pytest.approx(0.2, abs=0.2)


@given(pcm=st.lists(st.integers(-32_768, 32_767), max_size=80), at=st.integers(0, 200))
def test_a_peak_is_found_wherever_it_lies(pcm: list[int], at: int) -> None:
    """Leaving out rows that are too quiet loses nothing."""
    alone, placed = PeakMeter(), PeakMeter()
    alone.push(np.array(pcm, np.int16))
    placed.push(np.concatenate((sine(300, 0.3, 0.1), silence(at), np.array(pcm, np.int16))))
    highest = placed.close()
    assert highest >= 0.099
    assert highest >= alone.close() or highest == pytest.approx(alone.close(), rel=0.05)


LOUD = {
    **MATERIAL,
    "square": (32_767 * np.sign(np.sin(2 * np.pi * 100 * np.tile(SECOND, 2)))).astype(np.int16),
    "clicks": np.where(np.arange(48_000) % 997 == 0, 32_767, 0).astype(np.int16),
    "extremes": np.random.default_rng(2).choice(np.array([-32_768, 32_767], np.int16), 48_000),
}


@pytest.mark.parametrize("name", LOUD)
@pytest.mark.parametrize("gain_db", [0.0, 12.0])
def test_no_meter_sees_a_peak_above_the_ceiling(name: str, gain_db: float) -> None:
    out = through(Limiter(gain_db, -1.0), [LOUD[name]])
    assert len(out) == len(LOUD[name])
    assert interpolated_dbtp(out) <= -1.0
    assert ffmpeg_dbtp(out) <= -1.0
    assert measure([out]).true_peak_dbtp <= -1.0


@pytest.mark.parametrize("name", LOUD)
@given(
    sizes=st.lists(st.integers(0, 9_000), max_size=12), gain_db=st.sampled_from([-6.0, 0.0, 9.0])
)
@settings(max_examples=15, deadline=None)
def test_any_chunking_limits_the_same(name: str, sizes: list[int], gain_db: float) -> None:
    pcm = LOUD[name][:40_000]
    assert np.array_equal(
        through(Limiter(gain_db), cut(pcm, sizes)), through(Limiter(gain_db), [pcm])
    )


@given(sizes=st.lists(st.integers(0, 600), max_size=30))
@settings(deadline=None)
def test_the_limiter_is_never_more_than_5_ms_behind(sizes: list[int]) -> None:
    pcm, limiter, taken, given_back = noise(sum(sizes), 20_000), Limiter(), 0, 0
    for chunk in cut(pcm, sizes):
        taken += len(chunk)
        given_back += len(limiter.push(chunk))
        assert taken - LAG_SAMPLES <= given_back <= taken
    assert LAG_SAMPLES < 0.005 * SAMPLE_RATE_HZ
    assert given_back + len(limiter.close()) == len(pcm)


def test_what_is_quiet_passes_unchanged() -> None:
    pcm = np.clip(speech(60_000), -12_000, 12_000)
    assert np.array_equal(through(Limiter(), [pcm]), pcm)


def test_the_gain_comes_back_after_a_peak() -> None:
    pcm = sine(200, 1.0, 0.3)
    pcm[5_000:5_100] = 32_000
    out = through(Limiter(), [pcm])
    assert np.array_equal(out[:4_800], pcm[:4_800])
    assert np.abs(out[4_990:5_110].astype(int)).max() < 30_000
    assert np.array_equal(out[8_000:], pcm[8_000:]), "within 0.12 s"


def test_a_limited_tone_stays_a_tone() -> None:
    out = through(Limiter(12.0), [sine(100, 3.0, 0.4)])[24_000:48_000] / 32_768
    power = np.abs(np.fft.rfft(out * np.blackman(len(out)))) ** 2
    tone = power[95:106].sum()
    assert 10 * math.log10((power.sum() - tone) / tone) < -45


@pytest.mark.parametrize(
    ("gain_db", "ceiling_dbtp"), [(math.nan, -1.0), (0.0, 0.0), (0.0, -math.inf)]
)
def test_a_limiter_needs_sense(gain_db: float, ceiling_dbtp: float) -> None:
    with pytest.raises(ValueError, match="no limiter"):
        Limiter(gain_db, ceiling_dbtp)


@pytest.mark.parametrize(
    "rules",
    [{"target_lufs": -0.5}, {"ceiling_dbtp": 0.0}, {"max_gain_db": -1.0}, {"target_lufs": -80}],
)
def test_rules_need_sense(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="target"):
        LoudnessRules(**rules)


@pytest.mark.parametrize("name", ["speech", "bursts", "noise", "clipped noise", "997 Hz"])
@pytest.mark.parametrize("attenuation_db", [0, 12])
@pytest.mark.parametrize("target_lufs", [-16.0, -23.0])
def test_the_target_is_met(name: str, attenuation_db: int, target_lufs: float) -> None:
    pcm = np.rint(MATERIAL[name] * 10 ** (-attenuation_db / 20)).astype(np.int16)
    wanted = levelling(source(pcm), LoudnessRules(target_lufs))
    found = measure(limited([pcm], wanted.gain_db, wanted.ceiling_dbtp))
    assert found.integrated_lufs == pytest.approx(target_lufs, abs=0.75)
    assert found.true_peak_dbtp <= -1.0
    assert found.samples == len(pcm)


def test_what_has_no_loudness_gets_no_gain() -> None:
    for pcm in (silence(50_000), noise(5_000, 300), silence(0)):
        assert levelling(source(pcm)).gain_db == 0


def test_gain_is_bounded() -> None:
    clicks = LOUD["clicks"] // 8
    assert levelling(source(clicks), LoudnessRules(max_gain_db=6.0)).gain_db == 6.0
    assert levelling(source(LOUD["noise"]), LoudnessRules(max_gain_db=0.0)).gain_db == 0.0


@pytest.mark.parametrize("name", FILE_FORMATS)
@pytest.mark.parametrize("material", ["speech", "bursts", "clipped noise"])
def test_a_finished_file_is_at_its_target_when_decoded(
    name: str, material: str, tmp_path: Path
) -> None:
    pcm = MATERIAL[material]
    finished = finish_file(tmp_path / "a", name, source(pcm))
    assert finished.before == measure([pcm])
    assert finished.after.integrated_lufs == pytest.approx(-16.0, abs=1.5)
    assert finished.after.true_peak_dbtp <= -1.0
    assert finished.after.samples == pytest.approx(len(pcm), abs=2_048)


def test_a_codec_that_overshoots_is_given_less(tmp_path: Path) -> None:
    """AAC adds more than a decibel to this material: the first draft is too high."""
    pcm, drafts = MATERIAL["bursts"], []

    def counted() -> Iterable[Pcm]:
        drafts.append(len(list(tmp_path.glob("*.draft*"))))
        return [pcm]

    finished = finish_file(tmp_path / "a", "aac", counted)
    assert drafts[-1] == 1, "written again beside the first draft"
    assert finished.after.true_peak_dbtp <= -1.0
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_file_that_can_not_be_finished_leaves_the_old_one(tmp_path: Path, fails_at: int) -> None:
    (tmp_path / "a").write_bytes(b"before")
    reads = 0

    def failing() -> Iterator[Pcm]:
        nonlocal reads
        reads += 1
        yield LOUD["speech"][:60_000]
        if reads == fails_at:
            raise InterruptedError
        yield LOUD["speech"][60_000:]

    with pytest.raises(InterruptedError):
        finish_file(tmp_path / "a", "mp3", failing)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"

"""Seams: exact pauses, no clicks, nothing of the sound lost, the same for any chunking."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.core.audio import FRAME_SAMPLES, Pcm, samples_of, silence
from serve_app.core.level import LevelRules
from serve_app.core.segment import Boundary
from serve_app.core.stitch import PAUSES, SegmentSpan, Stitcher, StitchRules, pause_s

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SHORT = StitchRules(edge_s=0.010, fade_s=0.003, hold_s=0.030)
EDGE, FADE = samples_of(SHORT.edge_s), samples_of(SHORT.fade_s)
PLAIN = replace(SHORT, level=LevelRules(max_correction_db=0))
PATIENT = replace(PLAIN, hold_s=10.0)
GAINS = {"a": 0.0, "b": -3.5, "c": 9.0}


@dataclass(frozen=True)
class Take:
    """A segment as an engine might send it: runs of samples, each by one voice."""

    before: Boundary
    pause_s: float | None
    runs: tuple[tuple[Pcm, str | None], ...]

    @property
    def raw(self) -> Pcm:
        return np.concatenate([silence(0), *(run for run, _ in self.runs)])

    def sound(self) -> tuple[int, int] | None:
        """First and last sample of its sound, found frame by frame without the code under test."""
        raw = [int(x) for x in self.raw]
        starts = range(0, len(raw), FRAME_SAMPLES)
        frames = [(at, raw[at : at + FRAME_SAMPLES]) for at in starts]
        threshold = round(32768**2 * 1e-5)
        loud = [at for at, f in frames if sum(x * x for x in f) / len(f) >= threshold]
        return (loud[0], min(len(raw), loud[-1] + FRAME_SAMPLES)) if loud else None


@st.composite
def runs(draw: st.DrawFn) -> tuple[Pcm, str | None]:
    length = draw(st.integers(0, 900))
    height = draw(st.sampled_from([0, 40, 90, 2_000, 9_000, 32_767]))
    noise = np.random.default_rng(draw(st.integers(0, 9))).uniform(-height, height, length)
    return noise.astype(np.int16), draw(st.sampled_from(["a", "b", "c", "stranger", None]))


takes = st.builds(
    Take,
    before=st.sampled_from(list(Boundary)),
    pause_s=st.none() | st.floats(0, 0.2),
    runs=st.lists(runs(), max_size=5).map(tuple),
)
scripts = st.lists(takes, max_size=5)
finals = st.none() | st.floats(0, 0.2)


@dataclass
class Result:
    signal: Pcm
    spans: list[SegmentSpan | None]
    gains: list[float]
    stitcher: Stitcher


def stitched(
    script: list[Take],
    rules: StitchRules,
    cut: Callable[[Pcm], Iterator[Pcm]] = lambda run: iter([run]),
    final_pause_s: float | None = None,
) -> Result:
    stitcher = Stitcher(rules, GAINS)
    out: list[Pcm] = [silence(0)]
    spans: list[SegmentSpan | None] = []
    gains: list[float] = []
    for take in script:
        stitcher.begin(take.before, take.pause_s)
        gains += [stitcher.gain_db(voice) for voice in (*GAINS, None)]
        for run, voice in take.runs:
            for chunk in cut(run):
                out.append(stitcher.feed(chunk, voice))
                assert stitcher.samples_out == sum(map(len, out))
        out.append(stitcher.end())
        spans.append(stitcher.last_span)
    out.append(stitcher.finish(final_pause_s))
    signal = np.concatenate(out)
    assert signal.dtype == np.int16
    assert stitcher.samples_out == len(signal)
    return Result(signal, spans, gains, stitcher)


@untimed
@given(scripts, finals, st.randoms(use_true_random=False), st.sampled_from([SHORT, StitchRules()]))
def test_any_chunking_gives_the_same_bytes(
    script: list[Take], final: float | None, random: Random, rules: StitchRules
) -> None:
    def cut(run: Pcm) -> Iterator[Pcm]:
        at = 0
        while at < len(run):
            size = random.choice([0, 1, 7, 119, 120, 121, 300, 5_000])
            yield run[at : at + size]
            at += size

    whole = stitched(script, rules, final_pause_s=final)
    cut_up = stitched(script, rules, cut, final)
    assert np.array_equal(whole.signal, cut_up.signal)
    assert whole.spans == cut_up.spans
    assert whole.gains == cut_up.gains


@untimed
@given(scripts)
def test_all_sound_is_kept_and_what_is_kept_is_the_engines(script: list[Take]) -> None:
    loud = [replace(t, runs=tuple((run, "a") for run, _ in t.runs)) for t in script]
    result = stitched(loud, PATIENT)
    for take, span in zip(loud, result.spans, strict=True):
        sound = take.sound()
        if sound is None:
            assert span is None
            continue
        assert span is not None
        end = span.source_start + span.end - span.start
        assert span.source_start == max(0, sound[0] - EDGE)
        assert end == min(len(take.raw), sound[1] + EDGE)
        kept = result.signal[span.start + FADE : span.end - FADE].astype(np.int64)
        raw = take.raw[span.source_start + FADE : end - FADE].astype(np.int64)
        below_knee = np.abs(raw) < 29_000
        assert np.array_equal(kept[below_knee], raw[below_knee])


@untimed
@given(scripts, finals)
def test_pauses_lie_between_the_sounds(script: list[Take], final: float | None) -> None:
    result = stitched(script, PATIENT, final_pause_s=final)
    before, wanted = 0, 0
    kept_tail = 0
    for take, span in zip(script, result.spans, strict=True):
        explicit = PAUSES[take.before] if take.pause_s is None else take.pause_s
        wanted = max(wanted, samples_of(explicit))
        sound = take.sound()
        if sound is None or span is None:
            continue
        first = span.start + sound[0] - span.source_start
        kept_lead = sound[0] - span.source_start
        assert first - before == max(wanted, kept_tail + kept_lead)
        before = span.start + sound[1] - span.source_start
        kept_tail, wanted = span.end - before, 0
    wanted = max(wanted, samples_of(final or 0))
    assert len(result.signal) - before == max(wanted, kept_tail)


@untimed
@given(scripts, st.sampled_from([SHORT, StitchRules()]))
def test_no_seam_clicks(script: list[Take], rules: StitchRules) -> None:
    result = stitched(script, rules)
    signal = result.signal.astype(np.int64)
    slope = math.ceil(32_768 / samples_of(rules.fade_s))
    position = 0
    for span in filter(None, result.spans):
        assert not signal[position : span.start].any(), "a pause is digital silence"
        kept = signal[span.start : span.end]
        rising = np.arange(min(len(kept), samples_of(rules.fade_s)))
        assert np.all(np.abs(kept[rising]) <= slope * rising)
        assert np.all(np.abs(kept[::-1][rising]) <= slope * rising)
        position = span.end
    assert not signal[position:].any()


@untimed
@given(scripts)
def test_silent_segments_are_counted_and_leave_nothing(script: list[Take]) -> None:
    result = stitched(script, SHORT)
    silent = [take for take in script if take.sound() is None]
    assert result.stitcher.segments == len(script)
    assert result.stitcher.silent_segments == len(silent)
    assert [span is None for span in result.spans] == [take.sound() is None for take in script]


def tone(seconds: float, height: int = 3_000) -> Pcm:
    at = np.arange(samples_of(seconds))
    wave: Pcm = np.rint(height * np.sin(at * 2 * np.pi / 120)).astype(np.int16)
    return wave


def test_a_pause_counts_the_silence_that_is_there() -> None:
    segment = np.concatenate((silence(4_800), tone(0.5), silence(4_800)))
    stitcher = Stitcher(StitchRules(), {})
    stitcher.begin(Boundary.START)
    out = [stitcher.feed(segment, None), stitcher.end()]
    stitcher.begin(Boundary.TURN)
    out += [stitcher.feed(segment, None), stitcher.end(), stitcher.finish()]
    sounding = np.flatnonzero(np.concatenate(out))
    gap = int(np.diff(sounding).max()) - 1
    assert sounding[0] == 961, "40 ms are kept before the first sound, whose first sample is 0"
    assert abs(gap - samples_of(0.35)) <= 2


def test_silence_is_held_back_but_not_for_ever() -> None:
    stitcher = Stitcher(StitchRules(), {})
    stitcher.begin(Boundary.START)
    fed = len(tone(0.5))
    stitcher.feed(tone(0.5), None)
    for _ in range(60):
        stitcher.feed(silence(2_400), None)
        fed += 2_400
        assert fed - stitcher.samples_out <= samples_of(2.0) + FRAME_SAMPLES
    stitcher.end()
    assert stitcher.samples_out == pytest.approx(samples_of(0.5 + 6 - 2), abs=samples_of(0.05))
    stitcher.begin(Boundary.PARAGRAPH, pause_s=5.0)
    before = stitcher.samples_out
    stitcher.feed(tone(0.5), None)
    stitcher.end()
    span = stitcher.last_span
    assert span is not None
    assert 0.9 < (span.start - before) / 24_000 < 1.1, "four of the five seconds had flowed on"


def test_silence_before_the_first_sound_is_not_kept() -> None:
    stitcher = Stitcher(StitchRules(), {})
    stitcher.begin(Boundary.START)
    for _ in range(100):
        assert not len(stitcher.feed(silence(24_000), None))
        assert stitcher._open is not None
        assert len(stitcher._open.trim._held) <= samples_of(0.04) + FRAME_SAMPLES


def test_sound_flows_at_once() -> None:
    stitcher = Stitcher(StitchRules(), {})
    stitcher.begin(Boundary.START)
    stitcher.feed(tone(1.0), None)
    assert samples_of(1.0) - stitcher.samples_out <= samples_of(0.008) + FRAME_SAMPLES


def test_each_voice_has_its_own_level_within_one_segment() -> None:
    stitcher = Stitcher(StitchRules(), {"low": 6.0, "high": -6.0})
    for boundary in (Boundary.START, Boundary.TURN, Boundary.TURN):
        stitcher.begin(boundary)
        out = [stitcher.feed(tone(0.5, 1_000), "low"), stitcher.feed(tone(0.5, 9_000), "high")]
        out.append(stitcher.end())
    # -33.3 and -14.2 dBFS are -27.3 and -20.2 after the fixed gains: 3 and 2.75 dB to correct.
    assert stitcher.gain_db("low") == 9.0
    assert stitcher.gain_db("high") == -8.75
    assert stitcher.gain_db(None) == stitcher.gain_db("stranger") == 0.0
    third = np.abs(np.concatenate(out).astype(np.int64))
    assert third[8_400 : 8_400 + 11_000].max() == pytest.approx(1_000 * 10 ** (8 / 20), rel=0.01)
    assert third[-9_000:].max() == pytest.approx(9_000 * 10 ** (-8 / 20), rel=0.01)


def test_strangers_do_not_grow_the_state() -> None:
    stitcher = Stitcher(StitchRules(), {"a": 0.0})
    for number in range(50):
        stitcher.begin(Boundary.TURN)
        stitcher.feed(tone(0.1), f"stranger {number}")
        stitcher.end()
    assert len(stitcher._levels) == 1


def test_every_boundary_has_a_pause() -> None:
    assert set(PAUSES) == set(Boundary)
    assert pause_s(Boundary.START) == 0
    assert pause_s(Boundary.CLAUSE) < pause_s(Boundary.SENTENCE) < pause_s(Boundary.PARAGRAPH)


def test_calls_out_of_order_are_refused() -> None:
    stitcher = Stitcher(StitchRules(), {})
    calls: list[Callable[[], object]] = [lambda: stitcher.feed(tone(0.1), None), stitcher.end]
    for call in calls:
        with pytest.raises(RuntimeError, match="between begin"):
            call()
    stitcher.begin(Boundary.START)
    with pytest.raises(RuntimeError, match="after end"):
        stitcher.begin(Boundary.TURN)
    with pytest.raises(RuntimeError, match="after end"):
        stitcher.finish()
    stitcher.end()
    stitcher.finish()
    with pytest.raises(RuntimeError, match="once"):
        stitcher.finish()
    with pytest.raises(RuntimeError, match="before finish"):
        stitcher.begin(Boundary.TURN)


@pytest.mark.parametrize("pause", [-0.1, math.nan, math.inf])
def test_pauses_that_are_no_time_are_refused(pause: float) -> None:
    stitcher = Stitcher(StitchRules(), {})
    with pytest.raises(ValueError, match="not a length"):
        stitcher.begin(Boundary.START, pause)
    with pytest.raises(ValueError, match="not a length"):
        stitcher.finish(pause)


@pytest.mark.parametrize("bad", [{"fade_s": 0.1}, {"edge_s": 3.0}, {"fade_s": -0.01}])
def test_rules_that_contradict_themselves_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="longer than the next"):
        StitchRules(**bad)

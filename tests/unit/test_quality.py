"""Each way of failing is found, normal speech is not, and chunks don't matter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serve_app.core.audio import Pcm, samples_of, silence
from serve_app.core.quality import LOST_WORDS, QualityMeter, Reason, Verdict

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def speech(seconds: float, height: float = 4_000) -> Pcm:
    """A tone that swells and fades three times a second, like syllables."""
    at = np.arange(samples_of(seconds)) / 24_000
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * 3 * at)
    return np.rint(height * swell * np.sin(2 * np.pi * 150 * at)).astype(np.int16)


def spoken(seconds: float) -> Pcm:
    return np.concatenate((speech(seconds), silence(2_400)))


def judged(pcm: Pcm, est_s: float, pauses_s: float = 0.0) -> Verdict:
    meter = QualityMeter()
    meter.feed(pcm)
    return meter.verdict(est_s, "stop", pauses_s)


@untimed
@given(st.floats(0.3, 40), st.floats(0.7, 1.4))
def test_normal_speech_passes_with_a_rough_estimate(seconds: float, error: float) -> None:
    verdict = judged(spoken(round(3 * seconds) / 3), seconds * error)
    assert verdict.ok, str(verdict)
    assert str(verdict) == "ok"


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.0, 2.0])
def test_a_short_cry_may_take_its_time(seconds: float) -> None:
    assert judged(spoken(seconds), 0.7).ok


def test_a_quiet_steady_tone_passes() -> None:
    at = np.arange(240_000)
    for height in (300, 1_000, 3_000):
        steady = np.rint(height * np.sin(at * 2 * np.pi / 96)).astype(np.int16)
        assert judged(steady, 10.0).ok


def test_pauses_between_lines_pass() -> None:
    """Twenty lines of one word: two thirds of them are silence."""
    lines = [spoken(1 / 3), silence(samples_of(0.35))] * 20
    verdict = judged(np.concatenate(lines), 16.0)
    assert verdict.ok, str(verdict)
    assert verdict.measures.silent_samples > 0.55 * verdict.measures.samples


def with_clipping(pcm: Pcm) -> Pcm:
    return np.clip(pcm.astype(np.int64) * 12, -32_768, 32_767).astype(np.int16)


BAD: dict[Reason, Callable[[], Pcm]] = {
    Reason.EMPTY: lambda: silence(0),
    Reason.SILENT: lambda: speech(1.5, 60),
    Reason.TOO_SHORT: lambda: spoken(3.0),
    Reason.TOO_LONG: lambda: spoken(23.0),
    Reason.CUT_OFF: lambda: np.concatenate((spoken(9.0), speech(0.5, 12_000))),
    Reason.LONG_SILENCE: lambda: np.concatenate((spoken(4), silence(50_000), spoken(4))),
    Reason.MOSTLY_SILENT: lambda: np.concatenate([spoken(0.667), silence(40_800)] * 5),
    Reason.CLIPPED: lambda: with_clipping(spoken(10)),
    Reason.DC_OFFSET: lambda: spoken(10) + np.int16(900),
}


@pytest.mark.parametrize("reason", BAD)
def test_each_failure_is_found_and_named(reason: Reason) -> None:
    verdict = judged(BAD[reason](), 10.0)
    assert verdict.reasons == (reason,), str(verdict)
    assert not verdict.ok
    assert verdict.lost_words == (reason in LOST_WORDS)
    assert str(verdict) != "ok"


def test_every_reason_is_covered() -> None:
    assert set(BAD) | {Reason.LENGTH} == set(Reason)


@pytest.mark.parametrize("pcm", [silence(0), silence(9_000), spoken(10)])
def test_a_segment_stopped_by_length_has_lost_words(pcm: Pcm) -> None:
    meter = QualityMeter()
    meter.feed(pcm)
    verdict = meter.verdict(10.0, "length")
    assert Reason.LENGTH in verdict.reasons
    assert verdict.lost_words


def test_messages_carry_value_and_limit() -> None:
    verdict = judged(np.concatenate((spoken(4), silence(72_000), spoken(16))), 10.0)
    assert verdict.reasons == (Reason.TOO_LONG, Reason.LONG_SILENCE)
    assert "23.20 s of about 10.0 s, over 21.0 s" in str(verdict)
    assert "a silence of 3.1" in str(verdict)
    assert "over 2.0 s" in str(verdict)


def test_planned_pauses_are_no_silence_of_the_engines() -> None:
    pcm = np.concatenate((spoken(4), silence(samples_of(4.0)), spoken(4)))
    assert not judged(pcm, 12.0).ok
    assert judged(pcm, 12.0, pauses_s=4.0).ok
    assert judged(BAD[Reason.MOSTLY_SILENT](), 10.0, pauses_s=4.0).ok


@st.composite
def signals(draw: st.DrawFn) -> Pcm:
    runs = [
        np.full(draw(st.integers(0, 700)), draw(st.sampled_from([0, 90, -5_000, 32_767, -32_768])))
        for _ in range(draw(st.integers(0, 6)))
    ]
    return np.concatenate([silence(0), *runs]).astype(np.int16)


@untimed
@given(signals(), st.lists(st.integers(0, 900)), st.floats(0, 1))
def test_chunks_do_not_matter(pcm: Pcm, sizes: list[int], est_s: float) -> None:
    whole, chunked = QualityMeter(), QualityMeter()
    whole.feed(pcm)
    at = 0
    for size in [*sizes, len(pcm)]:
        chunked.feed(pcm[at : at + size])
        at += size
        if size % 2:  # being asked in between changes nothing
            assert chunked.heard_sound <= whole.heard_sound
    assert whole.verdict(est_s, "stop") == chunked.verdict(est_s, "stop")
    assert whole.early_verdict(est_s) == chunked.early_verdict(est_s)
    assert whole.heard_sound == chunked.heard_sound


@untimed
@given(arrays(np.int16, st.integers(0, 2_000), elements=st.sampled_from([0, 3, 104, -32_768])))
def test_measures_are_those_of_a_plain_count(pcm: Pcm) -> None:
    measures = judged(pcm, 1.0).measures
    raw = [int(x) for x in pcm]
    frames = [raw[at : at + 120] for at in range(0, len(raw), 120)]
    silent = [sum(x * x for x in frame) / len(frame) < 10_737 for frame in frames]
    longest = run = 0
    for quiet, frame in zip(silent, frames, strict=True):
        run = run + len(frame) if quiet else 0
        longest = max(longest, run)
    assert measures.samples == len(raw)
    assert measures.silent_samples == sum(
        len(frame) for quiet, frame in zip(silent, frames, strict=True) if quiet
    )
    assert measures.longest_silence_samples == longest
    assert measures.clipped_samples == raw.count(-32_768)
    assert measures.dc == pytest.approx(sum(raw) / max(1, len(raw)) / 32_768)
    tail = raw[-240:]
    power = sum(x * x for x in tail) / max(1, len(tail)) / 32_768**2
    assert measures.tail_dbfs == pytest.approx(10 * math.log10(power) if power else -math.inf)


def test_sound_is_heard_with_its_first_frame() -> None:
    meter = QualityMeter()
    meter.feed(silence(24_000))
    assert not meter.heard_sound
    meter.feed(np.full(119, 5_000, dtype=np.int16))
    assert not meter.heard_sound
    meter.feed(np.full(1, 5_000, dtype=np.int16))
    assert meter.heard_sound


def early(pcm: Pcm, est_s: float) -> tuple[Reason, ...]:
    meter = QualityMeter()
    meter.feed(pcm)
    return meter.early_verdict(est_s).reasons


def test_a_good_beginning_passes_at_any_point() -> None:
    for seconds in (0.0, 0.01, 0.2, 1.0, 5.0):
        assert early(speech(seconds), 30.0) == ()
    assert early(silence(24_000), 30.0) == (), "a second of silence may come before the sound"


@pytest.mark.parametrize("reason", [Reason.MOSTLY_SILENT, Reason.CUT_OFF, Reason.TOO_SHORT])
def test_a_beginning_is_not_judged_by_what_the_rest_may_mend(reason: Reason) -> None:
    assert early(BAD[reason](), 10.0) == ()


def test_shares_of_very_little_are_not_judged() -> None:
    assert early(BAD[Reason.CLIPPED]()[:9_000], 10.0) == ()
    assert early(BAD[Reason.DC_OFFSET]()[:9_000], 10.0) == ()


@pytest.mark.parametrize("reason", [Reason.TOO_LONG, Reason.LONG_SILENCE, Reason.CLIPPED])
def test_a_beginning_can_show_a_failure(reason: Reason) -> None:
    assert early(BAD[reason](), 10.0) == (reason,)


@untimed
@given(signals(), signals(), st.floats(0, 0.1))
def test_what_lasts_is_still_true_at_the_end(first: Pcm, second: Pcm, est_s: float) -> None:
    meter = QualityMeter()
    meter.feed(np.tile(first, 60))
    lasting = {Reason.TOO_LONG, Reason.LONG_SILENCE}
    found = lasting & set(meter.early_verdict(est_s).reasons)
    meter.feed(np.append(second, np.int16(9_000)))
    assert found <= set(meter.verdict(est_s, "stop").reasons)
    meter.feed(np.full(120, 9_000, dtype=np.int16))
    assert found <= set(meter.verdict(est_s, "stop").reasons)

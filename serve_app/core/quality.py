"""Cheap signs of a badly spoken segment, taken while it streams by; nothing here knows the words.

Each check looks for one way in which a speech model fails: it says nothing, stops early, runs on,
is cut off, falls silent or sends a broken signal. None judges the spectrum or the speech itself,
so that any engine's normal output passes, a tone as well. Bounds are wide where a false alarm
would cost a good take: an estimate of the length is rough, most of all below five seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np

from serve_app.core.audio import (
    FRAME_SAMPLES,
    FULL_SCALE,
    SAMPLE_RATE_HZ,
    SILENCE_DBFS,
    Pcm,
    duration_s,
    energy,
    frame_energies,
    power_limit,
    samples_of,
    silence,
)


class Reason(StrEnum):
    """What is wrong with a segment."""

    EMPTY = "empty"
    SILENT = "silent"
    LENGTH = "stopped_by_length"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CUT_OFF = "cut_off"
    LONG_SILENCE = "long_silence"
    MOSTLY_SILENT = "mostly_silent"
    CLIPPED = "clipped"
    DC_OFFSET = "dc_offset"


LOST_WORDS: Final = frozenset({Reason.EMPTY, Reason.SILENT, Reason.LENGTH, Reason.TOO_SHORT})
"""Reasons that mean that words are missing, where the others mean that they sound wrong."""


@dataclass(frozen=True, slots=True)
class QualityRules:
    """Where each check begins to complain.

    Args:
        min_ratio, min_slack_s: A segment is too short under ``min_ratio * est_s - min_slack_s``:
            nothing is too short for an estimate of 2 s, 1.5 s is for 5 s, 29 s for 60 s.
        max_ratio, max_slack_s: It is too long over ``max_ratio * est_s + max_slack_s``: 4.3 s for
            an estimate of 0.7 s, 12 s for 5 s, 111 s for 60 s.
        tail_s, tail_dbfs: It is cut off if its last ``tail_s`` have more power than this.
        silence_dbfs: A 5 ms frame with less power is silence.
        max_silence_s: Longest silence allowed anywhere, planned pauses not counted.
        max_silence_share, silence_slack_s: It is mostly silent if silence exceeds this share of
            it plus the slack, planned pauses not counted. Twenty lines of one word each are
            silent for two thirds of their time, so that less would be a false alarm.
        max_clipped_share: Share of samples at full scale.
        max_dc: Mean of the samples relative to full scale, either way.
        min_judged_s: Shares and means of a prefix shorter than this are not judged.
    """

    min_ratio: float = 0.5
    min_slack_s: float = 1.0
    max_ratio: float = 1.8
    max_slack_s: float = 3.0
    tail_s: float = 0.010
    tail_dbfs: float = -20.0
    silence_dbfs: float = SILENCE_DBFS
    max_silence_s: float = 2.0
    max_silence_share: float = 0.6
    silence_slack_s: float = 1.5
    max_clipped_share: float = 0.005
    max_dc: float = 0.02
    min_judged_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured.

    Args:
        samples: Length.
        silent_samples: Samples in silent frames.
        longest_silence_samples: Longest run of them.
        clipped_samples: Samples at full scale.
        dc: Mean of the samples relative to full scale, -1..1; 0 without samples.
        tail_dbfs: Power of the last 10 ms; -inf for zeros or without samples.
    """

    samples: int
    silent_samples: int
    longest_silence_samples: int
    clipped_samples: int
    dc: float
    tail_dbfs: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint: why, and the measured value beside its limit in words."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks say of a segment or of its beginning.

    Args:
        findings: The complaints, in the order of :class:`Reason`.
        measures: What they rest on.
    """

    findings: tuple[Finding, ...]
    measures: Measures

    @property
    def ok(self) -> bool:
        """No check complains."""
        return not self.findings

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why not."""
        return tuple(finding.reason for finding in self.findings)

    @property
    def lost_words(self) -> bool:
        """Some of the text has not been spoken (:data:`LOST_WORDS`)."""
        return not LOST_WORDS.isdisjoint(self.reasons)

    def __str__(self) -> str:
        return "; ".join(finding.detail for finding in self.findings) or "ok"


_LOOK_SAMPLES: Final = SAMPLE_RATE_HZ


class QualityMeter:
    """Measures one segment in chunks of any size; keeps counters and 10 ms of audio.

    Args:
        rules: Where each check begins to complain.
    """

    def __init__(self, rules: QualityRules | None = None) -> None:
        self._rules = rules or QualityRules()
        self._limit = power_limit(self._rules.silence_dbfs)
        self._tail_samples = samples_of(self._rules.tail_s)
        self._samples = 0
        self._sum = 0
        self._clipped = 0
        self._silent = 0
        self._run = 0
        self._longest = 0
        self._carry = silence(0)
        self._tail = silence(0)
        self._waiting: list[Pcm] = []
        self._waiting_samples = 0

    @property
    def heard_sound(self) -> bool:
        """Some whole frame was not silent."""
        self._look()
        return self._samples - len(self._carry) > self._silent

    def feed(self, pcm: Pcm) -> None:
        """The segment's next samples; any number, also none. They must not change later."""
        self._waiting.append(pcm)
        self._waiting_samples += len(pcm)
        if self._waiting_samples >= _LOOK_SAMPLES:
            self._look()

    def _look(self) -> None:
        """Measure what has come: many small chunks at once, since each look costs the same."""
        if not self._waiting_samples:
            return
        pcm = np.concatenate(self._waiting)
        self._waiting.clear()
        self._waiting_samples = 0
        self._samples += len(pcm)
        self._sum += int(pcm.sum(dtype=np.int64))
        self._clipped += int(np.count_nonzero((pcm >= FULL_SCALE - 1) | (pcm == -FULL_SCALE)))
        recent = np.concatenate((self._tail, pcm[-self._tail_samples :]))
        self._tail = recent[-self._tail_samples :]
        waiting = np.concatenate((self._carry, pcm))
        energies = frame_energies(waiting)
        self._carry = waiting[len(energies) * FRAME_SAMPLES :].copy()
        self._count(energies < self._limit * FRAME_SAMPLES)

    def early_verdict(self, est_s: float, planned_pauses_s: float = 0.0) -> Verdict:
        """Judge what has come so far, before any of it leaves.

        A beginning can show that a segment is too long already, that it holds a long silence,
        and, from half a second on, that it is clipped or off centre. Whether it is too short, cut
        off, silent as a whole or stopped by a bound shows only at its end. What is found here
        stays true, except for the shares: a clipped beginning may belong to a segment that
        passes as a whole.

        Args:
            est_s: Estimated length of the whole segment, s.
            planned_pauses_s: Sum of the pauses put between its lines, s.
        """
        measures = self._measures()
        findings = [
            *self._too_long(measures, est_s),
            *self._silences(measures, planned_pauses_s, whole=False),
        ]
        if measures.samples >= samples_of(self._rules.min_judged_s):
            findings += self._broken(measures)
        return Verdict(tuple(findings), measures)

    def verdict(
        self, est_s: float, finish: Literal["stop", "length"], planned_pauses_s: float = 0.0
    ) -> Verdict:
        """Judge the whole segment.

        Args:
            est_s: Its estimated length, s.
            finish: How the engine ended it.
            planned_pauses_s: Sum of the pauses put between its lines, s.
        """
        measures = self._measures()
        by_length = [Finding(Reason.LENGTH, "stopped by a bound on its length before its end")]
        stopped = by_length if finish == "length" else []
        if not measures.samples:
            return Verdict((Finding(Reason.EMPTY, "no samples"), *stopped), measures)
        length_s = duration_s(measures.samples)
        if measures.silent_samples == measures.samples:
            silent = Finding(Reason.SILENT, f"nothing but silence for {length_s:.2f} s")
            return Verdict((silent, *stopped), measures)
        findings = (
            *stopped,
            *self._too_short(measures, est_s),
            *self._too_long(measures, est_s),
            *self._cut_off(measures),
            *self._silences(measures, planned_pauses_s, whole=True),
            *self._broken(measures),
        )
        return Verdict(findings, measures)

    def _count(self, silent: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """Count silent frames and their longest run, which may have begun in an earlier chunk."""
        self._silent += int(np.count_nonzero(silent)) * FRAME_SAMPLES
        loud = np.flatnonzero(~silent)
        if not len(loud):
            self._run += len(silent) * FRAME_SAMPLES
        else:
            gaps = np.diff(loud) - 1
            inner = int(gaps.max(initial=0)) * FRAME_SAMPLES
            first = self._run + int(loud[0]) * FRAME_SAMPLES
            self._longest = max(self._longest, first, inner)
            self._run = (len(silent) - 1 - int(loud[-1])) * FRAME_SAMPLES
        self._longest = max(self._longest, self._run)

    def _measures(self) -> Measures:
        self._look()
        short = len(self._carry)
        rest = short if energy(self._carry) < self._limit * short else 0
        power = energy(self._tail) / (max(1, len(self._tail)) * FULL_SCALE**2)
        return Measures(
            samples=self._samples,
            silent_samples=self._silent + rest,
            longest_silence_samples=max(self._longest, self._run + rest if rest else 0),
            clipped_samples=self._clipped,
            dc=self._sum / (max(1, self._samples) * FULL_SCALE),
            tail_dbfs=float(10 * np.log10(power)) if power else -np.inf,
        )

    def _too_short(self, measures: Measures, est_s: float) -> Iterator[Finding]:
        length_s = duration_s(measures.samples)
        limit_s = self._rules.min_ratio * est_s - self._rules.min_slack_s
        if length_s < limit_s:
            yield Finding(
                Reason.TOO_SHORT, f"{length_s:.2f} s of about {est_s:.1f} s, under {limit_s:.1f} s"
            )

    def _too_long(self, measures: Measures, est_s: float) -> Iterator[Finding]:
        length_s = duration_s(measures.samples)
        limit_s = self._rules.max_ratio * est_s + self._rules.max_slack_s
        if length_s > limit_s:
            yield Finding(
                Reason.TOO_LONG, f"{length_s:.2f} s of about {est_s:.1f} s, over {limit_s:.1f} s"
            )

    def _cut_off(self, measures: Measures) -> Iterator[Finding]:
        if measures.tail_dbfs > self._rules.tail_dbfs:
            yield Finding(
                Reason.CUT_OFF,
                f"cut off: its last {self._rules.tail_s * 1000:.0f} ms have "
                f"{measures.tail_dbfs:.1f} dBFS, over {self._rules.tail_dbfs:.0f}",
            )

    def _silences(
        self, measures: Measures, planned_pauses_s: float, *, whole: bool
    ) -> Iterator[Finding]:
        rules = self._rules
        longest_s = duration_s(measures.longest_silence_samples)
        limit_s = rules.max_silence_s + planned_pauses_s
        if longest_s > limit_s:
            yield Finding(
                Reason.LONG_SILENCE, f"a silence of {longest_s:.2f} s, over {limit_s:.1f} s"
            )
        length_s = duration_s(measures.samples)
        silent_s = duration_s(measures.silent_samples)
        limit_s = rules.max_silence_share * length_s + rules.silence_slack_s + planned_pauses_s
        if whole and silent_s > limit_s:
            yield Finding(
                Reason.MOSTLY_SILENT,
                f"silence for {silent_s:.2f} of {length_s:.2f} s, over {limit_s:.1f} s",
            )

    def _broken(self, measures: Measures) -> Iterator[Finding]:
        clipped = measures.clipped_samples / measures.samples
        if clipped > self._rules.max_clipped_share:
            yield Finding(
                Reason.CLIPPED,
                f"{clipped:.2%} of its samples are at full scale, "
                f"over {self._rules.max_clipped_share:.2%}",
            )
        if abs(measures.dc) > self._rules.max_dc:
            yield Finding(
                Reason.DC_OFFSET,
                f"its mean is {measures.dc:.1%} of full scale, over {self._rules.max_dc:.1%}",
            )

"""One take as it is heard: compressed, judged and measured while it comes, none of it kept raw."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serve_app.core.audio import pcm_from_bytes, power_limit, samples_of
from serve_app.core.job_take import PartInfo, TakeInfo
from serve_app.core.letter_clock import count_letters
from serve_app.core.plan import PlannedSegment
from serve_app.core.quality import QualityMeter
from serve_app.core.stitch import StitchRules, pause_s
from serve_app.core.trim import Trim, TrimRules
from serve_app.engines.base import Chunk
from serve_app.jobs.take_file import Header, PcmPacker, Run, joined


@dataclass(frozen=True, slots=True)
class Heard:
    """A complete take of one part.

    Args:
        info: What is known of it.
        runs: Whose voice its samples are.
        flac: Its samples, packed.
        wall_s: From its place to its end.
        replica, card: Who spoke it.
        revision: Of the engine.
        unheard: Why the recogniser that should have heard it back did not; empty if it did, or if
            there is none.
    """

    info: PartInfo
    runs: tuple[Run, ...]
    flac: bytes
    wall_s: float
    replica: str
    card: str | None
    revision: str
    unheard: str = ""

    @property
    def rank(self) -> tuple[bool, int]:
        """Lower is better: words that are missing weigh most, then the number of complaints."""
        return self.info.lost_words, len(self.info.findings)


def rank(parts: Sequence[Heard]) -> tuple[tuple[bool, int], float]:
    """Lower is better: the worst part counts, and then the share of words that nobody heard."""
    checks = [part.info.check for part in parts if part.info.check is not None]
    words = sum(check.words for check in checks)
    missing = words - sum(check.heard for check in checks)
    return max(part.rank for part in parts), missing / words if words else 0.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment as it will be kept.

    Args:
        parts: One, or several after a split.
        bad_takes, faults: What it took besides.
        lacked_memory: It would have been another take on a card with more free memory: it is this
            job's, and not the take of its key.
    """

    parts: tuple[Heard, ...]
    bad_takes: int
    faults: int
    lacked_memory: bool = False

    @property
    def unheard(self) -> str:
        """Why some of it was not heard back; empty if nothing failed."""
        return next((part.unheard for part in self.parts if part.unheard), "")

    def packed(self, key: str) -> tuple[Header, bytes]:
        """Header and samples for its file; blocks."""
        info = TakeInfo(
            key=key,
            revision=self.parts[0].revision,
            parts=tuple(part.info for part in self.parts),
            wall_s=sum(part.wall_s for part in self.parts),
            bad_takes=self.bad_takes,
            faults=self.faults,
        )
        flac = joined(tuple(part.flac for part in self.parts))
        return Header(info, tuple(part.runs for part in self.parts)), flac


class Recorder:
    """Hears one take. Every method blocks for a moment: call it from a thread.

    Args:
        planned: What is spoken.
        rules: Those the stitcher will use; they tell what it will keep.
    """

    def __init__(self, planned: PlannedSegment, rules: StitchRules | None = None) -> None:
        rules = rules or StitchRules()
        self._segment = planned.segment
        self._meter, self._packer = QualityMeter(), PcmPacker()
        self._trim = Trim(
            TrimRules(
                edge=samples_of(rules.edge_s),
                fade=samples_of(rules.fade_s),
                hold=samples_of(rules.hold_s),
                limit=power_limit(rules.silence_dbfs),
            )
        )
        self._runs: list[Run] = []
        self._kept = self._samples = 0
        # A cancelled take leaves its thread at work, be it adding or closing: the encoder must
        # not be freed under it, or twice.
        self._working = threading.Lock()

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Take the next chunks."""
        with self._working:
            self._add(chunks)

    def abort(self) -> None:
        """Let go of the encoder; what was heard is of no use any more."""
        with self._working:
            self._packer.close()

    def _add(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            pcm = pcm_from_bytes(chunk.pcm)
            if not len(pcm):
                continue
            self._meter.feed(pcm)
            self._packer.add(pcm)
            self._trim.take(pcm, pcm)
            self._kept += len(self._trim.ready())
            self._samples += len(pcm)
            if self._runs and self._runs[-1][1] == chunk.voice:
                self._runs[-1] = (self._runs[-1][0] + len(pcm), chunk.voice)
            else:
                self._runs.append((len(pcm), chunk.voice))

    def close(
        self,
        finish: Literal["stop", "length"],
        *,
        wall_s: float,
        replica: str,
        card: str | None,
        revision: str,
    ) -> Heard:
        """Judge the whole take; nobody needs the result of one that was let go meanwhile."""
        with self._working:
            flac = self._packer.close()
        self._trim.close()
        self._kept += len(self._trim.rest())
        segment = self._segment
        pauses_s = sum(pause_s(said.before) for said in segment.utterances[1:])
        verdict = self._meter.verdict(segment.est_s, finish, pauses_s)
        info = PartInfo(
            before=segment.before,
            pause_s=segment.pause_s,
            samples=self._samples,
            source_start=self._trim.start,
            kept=self._kept if self._trim.has_sound else 0,
            lead=self._trim.lead,
            tail=self._trim.tail,
            findings=tuple(finding.detail for finding in verdict.findings),
            lost_words=verdict.lost_words,
            letters=sum(count_letters(said.text) for said in segment.utterances),
        )
        return Heard(info, tuple(self._runs), flac, wall_s, replica, card, revision)

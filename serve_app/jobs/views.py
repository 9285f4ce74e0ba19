"""What is told about jobs: plain data that crosses processes and becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serve_app.core.captions import TimedSegment
from serve_app.core.job_pace import Eta
from serve_app.core.job_status import Status
from serve_app.core.job_take import PartInfo, anchors_of
from serve_app.core.segment import Boundary, Utterance


@dataclass(frozen=True, slots=True)
class ChapterView:
    """A chapter of a job.

    Args:
        title: Its heading.
        start_s: Where it begins in the newest edition; None while that can't be told.
        estimated: It begins inside a segment.
    """

    title: str
    start_s: float | None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class FileView:
    """A finished file of a job.

    Args:
        edition, audio_format: What it holds.
        state: ``made``, ``making`` or ``failed``.
        media_type: MIME type.
        name: In the store, below ``output/``; empty until it is made.
        size_bytes: Of the file; 0 until it is made.
        etag: Names its bytes; empty until it is made.
        audio_s, lufs, true_peak_dbtp: Length and level of what is heard.
        failure: Why it could not be made.
    """

    edition: int
    audio_format: str
    state: Literal["made", "making", "failed"]
    media_type: str
    name: str = ""
    size_bytes: int = 0
    etag: str = ""
    audio_s: float = 0.0
    lufs: float | None = None
    true_peak_dbtp: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it stands.

    Args:
        id, title, audio_format, metadata, voices: As ordered; voice by speaker.
        created, ended: Unix seconds; None while it has not ended.
        status, reason: Where it stands, and why.
        edition: Grows with every other take that was asked for; names the finished audio.
        segments, done, failed: Counts.
        est_s: Estimated seconds of speech.
        audio_s: Seconds kept.
        doubtful, retried, cached: Segments.
        eta: Seconds until it is done; None while that can't be told.
        replicas: Who speaks for it right now.
        cards: Seconds of audio by card, since this runner started.
        warnings: What people should know.
        simulated: Its audio is a simulated engine's.
        speed: Of the finished audio; all times are those of what is heard.
        owner: Whose key ordered it.
        chapters: As far as it has any; empty in a list of jobs.
        files: Finished files, made or in the making; None in a list of jobs.
    """

    id: str
    title: str
    audio_format: str
    metadata: Mapping[str, str]
    voices: Mapping[str, str]
    created: float
    ended: float | None
    status: Status
    reason: str
    edition: int
    segments: int
    done: int
    failed: int
    est_s: float
    audio_s: float
    doubtful: int
    retried: int
    cached: int
    eta: Eta | None
    replicas: tuple[str, ...]
    cards: Mapping[str, float]
    warnings: tuple[str, ...]
    simulated: bool
    speed: float = 1.0
    owner: str = ""
    chapters: tuple[ChapterView, ...] = ()
    files: tuple[FileView, ...] | None = None


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A segment of a job in its newest edition.

    Args:
        number: From 0.
        state: ``open``, ``speaking``, ``kept`` or ``failed``.
        lines: Speaker and text of each utterance.
        edition: That asked for its take.
        est_s, audio_s: Estimated, and kept if it is.
        start_s, end_s: Where it lies in the finished audio; None while that can't be told.
        bad_takes, faults: What it needed beyond the take that counts.
        cached: It came from the cache.
        findings: What the quality check says against the kept take; not empty means doubtful.
        failure: Why it could not be spoken.
        boundaries: What lies before each utterance.
        word_recall: Share of its words that a recogniser heard; None if none listened.
        parts: Of its take; they tell what is known of times inside it.
        speed: Of the finished audio.
    """

    number: int
    state: str
    lines: tuple[tuple[str, str], ...]
    edition: int
    est_s: float
    audio_s: float | None
    start_s: float | None
    end_s: float | None
    bad_takes: int
    faults: int
    cached: bool
    findings: tuple[str, ...]
    failure: str | None
    boundaries: tuple[str, ...] = ()
    word_recall: float | None = None
    parts: tuple[PartInfo, ...] = ()
    speed: float = 1.0

    @property
    def timed(self) -> TimedSegment | None:
        """As captions are made of it; None while its place can't be told. Costs time."""
        if self.start_s is None or self.end_s is None:
            return None
        said = zip(self.lines, self.boundaries, strict=True)
        utterances = tuple(Utterance(*line, Boundary(before)) for line, before in said)
        return TimedSegment(
            self.number, utterances, self.start_s, self.end_s, anchors_of(self.parts, self.speed)
        )


def job_json(view: JobView) -> dict[str, Any]:
    """A job as the API tells it; whose it is and where its files lie stay inside."""
    return {
        "id": view.id,
        "object": "job",
        "title": view.title,
        "status": str(view.status),
        "reason": view.reason,
        "created_at": view.created,
        "ended_at": view.ended,
        "format": view.audio_format,
        "speed": view.speed,
        "edition": view.edition,
        "voices": dict(view.voices),
        "metadata": dict(view.metadata),
        "segments": {
            "total": view.segments,
            "done": view.done,
            "failed": view.failed,
            "doubtful": view.doubtful,
            "retried": view.retried,
            "cached": view.cached,
        },
        "audio_s": round(view.audio_s, 3),
        "estimated_s": round(view.est_s, 3),
        "eta_s": None if view.eta is None else asdict(view.eta),
        "replicas": list(view.replicas),
        "cards": dict(view.cards),
        "warnings": list(view.warnings),
        "chapters": [asdict(chapter) for chapter in view.chapters],
        "files": None if view.files is None else [file_json(it) for it in view.files],
        "simulated": view.simulated,
    }


def file_json(view: FileView) -> dict[str, Any]:
    """A finished file as the API tells it."""
    told = asdict(view)
    told["format"] = told.pop("audio_format")
    del told["name"]
    return told


def segment_json(view: SegmentView) -> dict[str, Any]:
    """A segment as the API tells it."""
    told = asdict(view)
    told["lines"] = [{"speaker": speaker, "text": text} for speaker, text in view.lines]
    del told["boundaries"], told["parts"], told["speed"]
    return told

"""What is told about jobs: plain data that crosses processes and becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from serve_app.core.job_pace import Eta
from serve_app.core.job_status import Status


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


def to_json(view: JobView | SegmentView) -> dict[str, Any]:
    """The same as JSON takes it."""
    return asdict(view)

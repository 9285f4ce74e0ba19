"""What the routes of the jobs answer, for the API's description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve_app.ingress.fields import Name


class Told(BaseModel):
    """Described by the docstrings under its fields."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class SegmentCounts(Told):
    """Segments of a job, in its newest edition."""

    total: int
    done: int
    failed: int
    doubtful: int
    """Kept, but the quality check complains and no better take was found."""
    retried: int
    cached: int


class EtaOut(Told):
    """Seconds until a job is done, as a range."""

    low_s: float
    high_s: float


class ChapterOut(Told):
    """A chapter."""

    title: str
    start_s: float | None
    """In the newest edition; null while it can't be told."""
    estimated: bool
    """It begins inside a segment."""


class FileOut(Told):
    """A finished file."""

    edition: int
    format: str
    state: Literal["made", "making", "failed"]
    media_type: str
    size_bytes: int
    etag: str
    audio_s: float
    lufs: float | None
    """Integrated loudness of what is heard."""
    true_peak_dbtp: float | None
    failure: str | None


class JobOut(Told):
    """A job."""

    id: str
    object: Literal["job"]
    title: str
    status: Literal[
        "queued", "running", "waiting", "paused", "complete", "failed", "cancelled", "damaged"
    ]
    reason: str
    """Why it stands there, for people."""
    created_at: float
    """Unix seconds."""
    ended_at: float | None
    format: str
    speed: float
    """Of the audio; all times are those of what is heard."""
    edition: int
    """Grows with every other take that was asked for."""
    voices: dict[str, str]
    """Voice by speaker."""
    metadata: dict[str, str]
    segments: SegmentCounts
    audio_s: float
    """Seconds spoken and kept, without pauses."""
    estimated_s: float
    eta_s: EtaOut | None
    replicas: list[str]
    """Who speaks for it right now."""
    cards: dict[str, float]
    """Seconds of audio by card, since the runner started."""
    warnings: list[str]
    chapters: list[ChapterOut]
    files: list[FileOut] | None
    """Null in a list of jobs."""
    simulated: bool


class JobList(Told):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobOut]
    first_id: str | None
    last_id: str | None
    """Send it as ``after`` for the next page."""
    has_more: bool


class LineOut(Told):
    """What one speaker says in a segment."""

    speaker: str
    text: str


class SegmentOut(Told):
    """A segment in its newest edition."""

    number: int
    state: Literal["open", "speaking", "kept", "failed"]
    lines: list[LineOut]
    edition: int
    est_s: float
    audio_s: float | None
    start_s: float | None
    """In the finished audio; null while it can't be told."""
    end_s: float | None
    bad_takes: int
    faults: int
    cached: bool
    findings: list[str]
    """What the quality check says against the kept take; not empty means doubtful."""
    failure: str | None
    word_recall: float | None
    """Share of its words that a recogniser heard back; null if none listened."""


class SegmentList(Told):
    """The segments of a job, in order."""

    object: Literal["list"] = "list"
    data: list[SegmentOut]
    total: int
    has_more: bool


class JobDeleted(Told):
    """A job that is gone."""

    id: str
    object: Literal["job.deleted"] = "job.deleted"
    deleted: Literal[True] = True


class RetryRequest(BaseModel):
    """How another take of a segment should be."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    text: str | None = Field(default=None, max_length=20_000)
    """To say instead; may have labels of the job's speakers."""
    voice: str | None = Field(default=None, max_length=128)
    """For all who speak in it."""
    voices: dict[Name, Name] = Field(default_factory=dict, max_length=64)
    """By speaker."""


def page(views: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page of jobs."""
    return {
        "object": "list",
        "data": views,
        "first_id": views[0]["id"] if views else None,
        "last_id": views[-1]["id"] if views else None,
        "has_more": has_more,
    }

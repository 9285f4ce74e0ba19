"""What a job's files hold, as strict models, and how they become what the core works with."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from serve_app.core.job import Saved
from serve_app.core.job_status import Status
from serve_app.core.plan import PlannedSegment
from serve_app.core.segment import Boundary, Segment, Utterance

LAYOUT_VERSION: Final = 1


class Record(BaseModel):
    """Frozen, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ChapterRecord(Record):
    """Where a chapter begins."""

    title: str
    letters: int
    """Letters and digits of the script before it; see ``core/chapter_times.py``."""


class FileRecord(Record):
    """``output/EDITION.FORMAT.json``: a finished file, written when the file itself is there."""

    edition: int
    audio_format: str
    name: str
    """Of the file beside this record."""
    media_type: str
    size_bytes: int
    digest: str
    """BLAKE2b-128 of its bytes, hex."""
    audio_s: float
    lufs: float | None
    """Loudness of the file as it is heard; None for silence."""
    true_peak_dbtp: float | None

    @property
    def etag(self) -> str:
        """Names these bytes; quoted, strong."""
        return f'"{self.digest}"'


class JobRecord(Record):
    """``job.json``: written last of the files that make a job, and never again."""

    layout: int = LAYOUT_VERSION
    """Of the files."""
    id: str
    created: float
    """Unix seconds."""
    title: str
    audio_format: str
    """As asked for; the store itself keeps lossless audio."""
    voices: dict[str, str]
    """Voice by speaker."""
    metadata: dict[str, str]
    """Whatever the client wants back."""
    fingerprint: str
    """Of all that was asked for: the same order under the same idempotency key is the same job."""
    segments: int
    est_s: float
    simulated: bool
    """Its audio is a simulated engine's."""
    owner: str = ""
    """Whose key ordered it."""
    chapters: tuple[ChapterRecord, ...] = ()
    """In the order of the script."""
    cover: bool = False
    """There is a picture for the finished file."""
    speed: float = 1.0
    """Of the finished audio; its takes are spoken at the engine's own."""


class UtteranceRecord(Record):
    """One utterance."""

    speaker: str
    text: str
    before: Boundary

    @classmethod
    def of(cls, utterance: Utterance) -> UtteranceRecord:
        """As it is written."""
        return cls(speaker=utterance.speaker, text=utterance.text, before=utterance.before)

    def utterance(self) -> Utterance:
        """As the core has it."""
        return Utterance(self.speaker, self.text, self.before)


class SegmentRecord(Record):
    """One planned segment."""

    utterances: tuple[UtteranceRecord, ...]
    pause_s: float | None
    est_s: float
    key: str
    seed: int


class PlanRecord(Record):
    """``plan.json``: the whole plan, so that a job outlives a change of the rules."""

    plan_version: int
    revision: str
    """Of the engine that the keys were made for."""
    options: tuple[tuple[str, float], ...]
    gains_db: dict[str, float]
    """Fixed gain by voice when the job was made; part of its sound."""
    final_pause_s: float | None
    segments: tuple[SegmentRecord, ...]

    @classmethod
    def rows(cls, planned: tuple[PlannedSegment, ...]) -> tuple[SegmentRecord, ...]:
        """The segments as they are written."""
        return tuple(
            SegmentRecord(
                utterances=tuple(map(UtteranceRecord.of, item.segment.utterances)),
                pause_s=item.segment.pause_s,
                est_s=item.segment.est_s,
                key=item.key,
                seed=item.seed,
            )
            for item in planned
        )

    def planned(self) -> tuple[PlannedSegment, ...]:
        """The segments as the core has them."""
        return tuple(_planned(index, row) for index, row in enumerate(self.segments))


def _planned(index: int, row: SegmentRecord) -> PlannedSegment:
    said = tuple(record.utterance() for record in row.utterances)
    segment = Segment(index, said, said[0].before, row.pause_s, row.est_s)
    return PlannedSegment(segment, row.key, row.seed)


class RetryRecord(Record):
    """Another take that someone asked for."""

    segment: int
    edition: int
    utterances: tuple[UtteranceRecord, ...]
    voices: dict[str, str]
    """Voice by speaker, of those that speak in it."""


class StateRecord(Record):
    """``state.EPOCH.json``: what the takes don't tell; replaced whole."""

    status: Status = Status.QUEUED
    reason: str = ""
    edition: int = 0
    retries: tuple[RetryRecord, ...] = ()
    """In the order in which they were asked for; several may be of one segment and edition."""
    withdrawn: tuple[tuple[int, int], ...] = ()
    """Segment and edition of retries that could not be spoken: the earlier take stays."""
    failures: dict[int, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    ended: float | None = None
    """Unix seconds at which it was complete, failed or cancelled."""
    audio_s: float = 0.0
    done: int = 0
    doubtful: int = 0

    def saved(self) -> Saved:
        """What the core needs of it."""
        gone = set(self.withdrawn)
        wanted = {(retry.segment, retry.edition) for retry in self.retries if retry.edition}
        return Saved(
            self.status, self.reason, self.edition, tuple(sorted(wanted - gone)), self.failures
        )

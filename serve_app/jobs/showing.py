"""A job as it is told to people; times are those of the audio at the job's speed."""

from __future__ import annotations

from dataclasses import replace

from serve_app.core.audio import duration_s
from serve_app.core.job_pace import Eta
from serve_app.core.job_status import Status
from serve_app.core.job_take import Span
from serve_app.jobs.live import LiveJob, WorkState
from serve_app.jobs.records import JobRecord, StateRecord
from serve_app.jobs.views import ChapterView, FileView, JobView, SegmentView


def job_view(
    live: LiveJob,
    work: WorkState,
    *,
    chapters: tuple[ChapterView, ...] = (),
    files: tuple[FileView, ...] | None = None,
) -> JobView:
    """The job as it stands; what is told of its chapters and files is passed through."""
    totals, record, job = live.job.totals(), live.record, live.job
    eta: Eta | None = None
    if job.status is Status.RUNNING:
        eta = live.pace.eta(totals.open_est_s, work.places)
    return JobView(
        id=record.id,
        title=record.title,
        audio_format=record.audio_format,
        metadata=record.metadata,
        voices=record.voices,
        created=record.created,
        ended=live.ended,
        status=job.status,
        reason=job.reason,
        edition=job.edition,
        segments=totals.segments,
        done=totals.done,
        failed=totals.failed,
        est_s=totals.est_s / record.speed,
        audio_s=totals.audio_s / record.speed,
        doubtful=totals.doubtful,
        retried=totals.retried,
        cached=totals.cached,
        eta=eta,
        replicas=work.replicas,
        cards=dict(live.cards),
        warnings=tuple(live.warnings),
        simulated=record.simulated,
        speed=record.speed,
        owner=record.owner,
        chapters=chapters,
        files=files,
    )


def segment_views(live: LiveJob, work: WorkState) -> tuple[SegmentView, ...]:
    """Every segment in the newest edition."""
    spans = list(live.job.spans())
    return tuple(
        _segment_view(live, number, spans[number] if number < len(spans) else None, work)
        for number in range(len(live.job.lines))
    )


def _segment_view(live: LiveJob, number: int, span: Span | None, work: WorkState) -> SegmentView:
    line, take, speed = live.job.line(number), live.job.take(number), live.record.speed
    edition = line.wanted[-1]
    utterances = live.planned(number, edition).segment.utterances
    state = "open"
    if take is not None:
        state = "kept"
    elif line.failure is not None:
        state = "failed"
    elif number in work.speaking:
        state = "speaking"
    return SegmentView(
        number=number,
        state=state,
        lines=tuple((said.speaker, said.text) for said in utterances),
        edition=edition,
        est_s=line.est_s / speed,
        audio_s=None if take is None else take.audio_s / speed,
        start_s=None if span is None else duration_s(span.start) / speed,
        end_s=None if span is None else duration_s(span.end) / speed,
        bad_takes=0 if take is None else take.bad_takes,
        faults=0 if take is None else take.faults,
        cached=take is not None and take.cached,
        findings=() if take is None else take.findings,
        failure=line.failure,
        boundaries=tuple(str(said.before) for said in utterances),
        word_recall=None if take is None else take.word_recall,
        parts=() if take is None else take.parts,
        speed=speed,
    )


def shelved_view(record: JobRecord, state: StateRecord) -> JobView:
    """A job as its files tell without its takes."""
    ended = state.status in {Status.COMPLETE, Status.FAILED, Status.CANCELLED, Status.PAUSED}
    return JobView(
        id=record.id,
        title=record.title,
        audio_format=record.audio_format,
        metadata=record.metadata,
        voices=record.voices,
        created=record.created,
        ended=state.ended,
        status=state.status if ended else Status.QUEUED,
        reason=state.reason,
        edition=state.edition,
        segments=record.segments,
        done=state.done,
        failed=len(state.failures),
        est_s=record.est_s / record.speed,
        audio_s=state.audio_s / record.speed,
        doubtful=state.doubtful,
        retried=0,
        cached=0,
        eta=None,
        replicas=(),
        cards={},
        warnings=state.warnings,
        simulated=record.simulated,
        speed=record.speed,
        owner=record.owner,
    )


def damaged_view(
    job_id: str, record: JobRecord | None, state: StateRecord | None, why: str
) -> JobView:
    """A job whose files are not what was written, by those that can be read."""
    view = shelved_view(record or _blank(job_id), state or StateRecord())
    return replace(view, status=Status.DAMAGED, reason=why)


def _blank(job_id: str) -> JobRecord:
    """What is known of a job whose record can't be read: nothing."""
    return JobRecord(
        id=job_id,
        created=0.0,
        title="",
        audio_format="",
        voices={},
        metadata={},
        fingerprint="",
        segments=0,
        est_s=0.0,
        simulated=False,
    )

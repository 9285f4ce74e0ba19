"""The chapters of a job that is in memory."""

from __future__ import annotations

from collections.abc import Sequence

from serve_app.core.audio import duration_s
from serve_app.core.chapter_times import ChapterMark, ChapterStart
from serve_app.core.chapter_times import chapter_starts as starts_of
from serve_app.encode_tags import Chapter, chapters_from
from serve_app.jobs.live import LiveJob


def chapter_starts(live: LiveJob, edition: int) -> tuple[ChapterStart, ...]:
    """Where the chapters begin in an edition, as far as that is known."""
    if not live.record.chapters:
        return ()
    segments = live.plan_segments
    speed = live.record.speed
    spans: list[tuple[float, float] | None] = [
        (duration_s(span.start) / speed, duration_s(span.end) / speed)
        for span in live.job.spans(edition)
    ]
    spans += [None] * (len(segments) - len(spans))
    marks = [ChapterMark(it.title, it.letters) for it in live.record.chapters]
    return starts_of(marks, segments, spans)


def file_chapters(
    starts: Sequence[ChapterStart], title: str, length_s: float
) -> tuple[Chapter, ...]:
    """Chapters of a file, which cover it from its very beginning to its end.

    Args:
        starts: In order.
        title: Of what lies before the first one; the first one begins there if it is empty.
        length_s: Of the file.
    """
    found = [(it.title, min(it.start_s, length_s)) for it in starts]
    if found and found[0][1] > 0:
        found = [(title, 0.0), *found] if title else [(found[0][0], 0.0), *found[1:]]
    return chapters_from(found, length_s)

"""A finished file at its target loudness: measure, write, and measure what a listener will hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serve_app.core.loudness import Loudness, LoudnessRules
from serve_app.decode import decoded
from serve_app.encode_file import file_format, write_file
from serve_app.encode_tags import Chapter, Tags
from serve_app.loudness import Source, levelling, limited, measure

_CLEARANCE_DB: Final = 0.2
"""A codec's overshoot moves a little when its input does."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a file was levelled.

    Args:
        gain_db: Gain that was given, before the limiter.
        before: The signal that came in.
        after: The file, decoded again.
    """

    gain_db: float
    before: Loudness
    after: Loudness


def finish_file(
    path: Path,
    name: str,
    source: Source,
    *,
    rules: LoudnessRules | None = None,
    tags: Tags | None = None,
    chapters: Sequence[Chapter] = (),
    cover: bytes | None = None,
) -> Finished:
    """Write a file at its target loudness, in bounded memory; for a worker thread.

    Where a lossy codec swings above the ceiling the file is written again with a lower limit,
    twice at most; *after* tells what was reached. An older file at *path* stays until the new one
    is complete, and nothing is left behind by one that failed.

    Args:
        path, name, tags, chapters, cover: See :func:`encode_file.write_file`.
        source: The signal; read two to eight times, and each time it must be the same.
        rules: Target and ceiling.

    Raises:
        UnknownFormatError, InvalidInputError, OSError: See there. To cancel, let the source raise.
    """
    rules = rules or LoudnessRules()
    wanted = levelling(source, rules, headroom_db=file_format(name).overshoot_db)
    ceiling_dbtp = wanted.ceiling_dbtp
    draft = path.with_name(f"{path.name}.draft")
    try:
        for last in (False, False, True):
            chunks = limited(source(), wanted.gain_db, ceiling_dbtp)
            write_file(draft, name, chunks, tags=tags, chapters=chapters, cover=cover)
            after = measure(decoded(draft))
            excess_db = after.true_peak_dbtp - rules.ceiling_dbtp
            if excess_db <= 0 or last:
                break
            ceiling_dbtp -= excess_db + _CLEARANCE_DB
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return Finished(wanted.gain_db, wanted.before, after)

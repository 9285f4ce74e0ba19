"""A text of a wanted length for benchmarks: varied paragraphs, the same on every run."""

from __future__ import annotations

from serve_app.core.estimate import speech_s
from tests.unit.texts import long_book


def minutes_of_text(minutes: int) -> str:
    """Paragraphs until the estimate says so many minutes."""
    text, spoken_s = [], 0.0
    for paragraph in long_book(20_000):
        if spoken_s >= minutes * 60:
            break
        text.append(paragraph)
        spoken_s += speech_s(paragraph)
    return "\n\n".join(text)


def ninety_minutes() -> str:
    """As much as one script may be long."""
    return minutes_of_text(90)

"""What a file says about itself: its title, who speaks, and that a machine spoke."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

AI_MARK: Final = "AI-generated speech (vibevoice-serve)"

MAX_TEXT_BYTES: Final = 250
"""A chapter's title has one byte for its length in some formats."""


@dataclass(frozen=True, slots=True)
class Tags:
    """What a listener may want to read.

    Args:
        title: Of the whole; empty for none.
        speakers: Names, in the order of their first words.
    """

    title: str = ""
    speakers: tuple[str, ...] = ()

    def fields(self) -> dict[str, str]:
        """By the names that FFmpeg translates into each format's own; empty ones are left out."""
        artist = ", ".join(clean(name) for name in self.speakers)
        said = {"title": clean(self.title), "artist": clean(artist), "comment": AI_MARK}
        return {name: text for name, text in said.items() if text}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named part of a file.

    Args:
        title: Its name.
        start_s, end_s: Where it lies.

    Raises:
        ValueError: Not ``0 <= start_s <= end_s``.
    """

    title: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.end_s:
            raise ValueError(f"no chapter goes from {self.start_s} s to {self.end_s} s")


def chapters_from(starts: Sequence[tuple[str, float]], length_s: float) -> tuple[Chapter, ...]:
    """Chapters that follow one another up to the end.

    Args:
        starts: Title and start in seconds of each, in order.
        length_s: Length of the whole.

    Raises:
        ValueError: They are not in order, or one starts behind the end.
    """
    ends = [*(start for _title, start in starts[1:]), length_s]
    return tuple(
        Chapter(title, start, end) for (title, start), end in zip(starts, ends, strict=False)
    )


def clean(text: str) -> str:
    """One line without control characters, as long as every format can hold it."""
    line = " ".join("".join(_printable(text)).split())
    return line.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore").strip()


def _printable(text: str) -> Iterable[str]:
    return (character if character.isprintable() else " " for character in text)

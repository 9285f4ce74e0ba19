"""What the doctor says: findings, and the words and numbers that several of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from serve_app.core.machine import Card
from serve_app.core.pack import LADDER_S
from serve_app.core.vram import ModelSize, segment_columns

Level = Literal["ok", "note", "stop"]

COLUMNS: Final = segment_columns(LADDER_S[-1])
"""Of a slot that holds the longest segment that a plan has."""

MOST_SLOTS: Final = 64
"""More than a config may ask for need not be counted."""

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: What.
        level: How grave.
        says: What was found.
        do: What to do about it; empty where nothing is to be done.
    """

    subject: str
    level: Level
    says: str
    do: str = ""


def slots_on(card: Card, model: ModelSize, columns: int = COLUMNS) -> int | None:
    """Slots of *columns* that fit beside what is on the card now; None if it does not tell."""
    if card.total_bytes is None or card.free_bytes is None:
        return None
    return model.slots_on(card.free_bytes, card.total_bytes, columns)


def slots_text(count: int) -> str:
    """So many slots, for people."""
    if count == 0:
        return "does not fit"
    return f"{MOST_SLOTS} slots or more" if count >= MOST_SLOTS else f"{count} slots"


def gib(count: int) -> str:
    """Bytes in GiB."""
    return f"{count / GIB:.1f}"

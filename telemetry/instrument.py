"""What a metric is, and how a list of them is written as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What sort of instrument a metric is; the observable ones are read by a callback."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    OBSERVABLE_COUNTER = "observable counter"
    OBSERVABLE_GAUGE = "observable gauge"
    OBSERVABLE_UP_DOWN_COUNTER = "observable up-down counter"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric.

    Args:
        name: Its name in every backend.
        unit: UCUM unit; ``1`` for a ratio.
        description: One sentence.
        kind: Sort of instrument.
        attributes: Names of the attributes that its points may carry.
        buckets: Upper bounds of a histogram's buckets, in its unit; empty otherwise.
    """

    name: str
    unit: str
    description: str
    kind: Kind
    attributes: tuple[str, ...]
    buckets: tuple[float, ...] = ()


def table(instruments: Iterable[Instrument]) -> list[str]:
    """The lines of a table in Markdown."""
    head = ["| name | unit | kind | what | attributes | buckets |", "|---|---|---|---|---|---|"]
    return head + [_row(instrument) for instrument in instruments]


def _row(instrument: Instrument) -> str:
    attributes = ", ".join(f"`{name}`" for name in instrument.attributes)
    buckets = ", ".join(f"{bound:g}" for bound in instrument.buckets)
    cells = (
        f"`{instrument.name}`",
        f"`{instrument.unit}`",
        instrument.kind.value,
        instrument.description,
        attributes,
        buckets,
    )
    return f"| {' | '.join(cells)} |"

"""What became of the messages of each alert channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelCount:
    """What became of a channel's messages.

    Args:
        name: Of the channel.
        sent: Taken by the other side.
        failed: Given up after the last try.
        dropped: Not even tried: the queue was full, or the channel was taken out of the config.
        waiting: In the queue now.
        failing: The last message that was tried was given up.
    """

    name: str
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0
    failing: bool = False

    def merged(self, other: ChannelCount) -> ChannelCount:
        """What became of the messages of two senders to the same channel."""
        return ChannelCount(
            self.name,
            self.sent + other.sent,
            self.failed + other.failed,
            self.dropped + other.dropped,
            self.waiting + other.waiting,
            self.failing or other.failing,
        )


def merge_channels(parts: Iterable[ChannelCount]) -> tuple[ChannelCount, ...]:
    """The counts of each channel over all senders, by name."""
    merged: dict[str, ChannelCount] = {}
    for part in parts:
        known = merged.get(part.name)
        merged[part.name] = part if known is None else known.merged(part)
    return tuple(merged[name] for name in sorted(merged))


def channel_problems(counts: Iterable[ChannelCount]) -> tuple[str, ...]:
    """The channels that take nothing now, for people."""
    return tuple(
        f"the alert channel {one.name!r} takes no messages ({one.failed} given up)"
        for one in counts
        if one.failing
    )

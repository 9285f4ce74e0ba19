"""What one key may do: requests a minute, streams at once, characters a day.

All three are exact and bounded. Requests are a sliding window: in no 60 seconds are there more
than allowed, so a client that waits as long as it is told gets through. Streams are a count.
Characters are counted by the UTC day; a request that could not start gives them back. All is kept
in memory, by each ingress for itself: a restart begins the day anew, so that the bound holds back
who sends too much by mistake or greed, and is no account to bill by.

Plain state without clocks or locks: its owner passes the times in and calls it from one loop.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from serve_app.core.backlog import Turnover

WINDOW_S: Final = 60.0
DAY_S: Final = 86_400
_ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Bounds of one key; None is no bound.

    Args:
        requests_per_minute: Requests in any 60 s.
        concurrent_streams: Streams that are open at once.
        characters_per_day: Characters of text in a UTC day.
    """

    requests_per_minute: int | None = None
    concurrent_streams: int | None = None
    characters_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key must wait.

    Args:
        limit: Name of the bound.
        allowed: Its value.
        retry_after_s: Whole seconds until it may be worth another try, at least 1.
    """

    limit: str
    allowed: int
    retry_after_s: int


class KeyUsage:
    """What one key has used.

    Args:
        limits: Its bounds.
    """

    def __init__(self, limits: KeyLimits) -> None:
        self.limits = limits
        self._requests: deque[float] = deque()
        self._streams = Turnover()
        self._day = 0
        self._characters = 0

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return self._streams.running

    def request(self, now_s: float) -> Refusal | None:
        """Count a request at monotonic time *now_s*, unless it is one too many."""
        allowed = self.limits.requests_per_minute
        if allowed is None:
            return None
        while self._requests and now_s - self._requests[0] >= WINDOW_S - _ROUNDING_S:
            self._requests.popleft()
        if len(self._requests) >= allowed:
            oldest = self._requests[0] if self._requests else now_s
            wait_s = math.ceil(oldest + WINDOW_S - now_s - _ROUNDING_S)
            return Refusal("requests a minute", allowed, max(wait_s, 1))
        self._requests.append(now_s)
        return None

    def open_stream(self, now_s: float) -> Refusal | int:
        """Count a stream that opens at monotonic time *now_s*, unless it is one too many.

        Returns:
            Why not, or a ticket for :meth:`close_stream`.
        """
        allowed = self.limits.concurrent_streams
        if allowed is not None and self.streams >= allowed:
            return Refusal("streams at once", allowed, self._streams.next_end_s(now_s))
        return self._streams.begin(now_s)

    def close_stream(self, ticket: int, now_s: float) -> None:
        """A stream has ended."""
        self._streams.end(ticket, now_s)

    def spend(self, characters: int, unix_s: float) -> Refusal | None:
        """Count characters at Unix time *unix_s*, unless they are too many for this day."""
        allowed = self.limits.characters_per_day
        day = int(unix_s // DAY_S)
        if day != self._day:
            self._day, self._characters = day, 0
        if allowed is not None and self._characters + characters > allowed:
            wait_s = math.ceil((day + 1) * DAY_S - unix_s)
            return Refusal("characters a day", allowed, max(wait_s, 1))
        self._characters += characters
        return None

    def refund(self, characters: int, unix_s: float) -> None:
        """Give back what :meth:`spend` took for a request that never started."""
        if int(unix_s // DAY_S) == self._day:
            self._characters = max(self._characters - characters, 0)

"""What became of a request for speech, and whether its listener had to wait in the middle.

A stream that is played while it comes must be ahead of its listener. :class:`Playback` follows a
listener who begins to play with the first audio and waits whenever nothing is left: each wait is
an under-run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GRACE_S: Final = 0.02
"""A wait that a player's own buffer covers."""


class Playback:
    """Compares the audio that left with real time; plain state without a clock.

    Args:
        grace_s: Waits up to this length don't count.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._ends_s: float | None = None
        self._left_s = self._newest_s = 0.0
        self.underruns = 0
        self.underrun_s = 0.0

    def left(self, now_s: float, audio_s: float) -> None:
        """Audio is ready to leave.

        Args:
            now_s: Monotonic time.
            audio_s: Seconds of audio since the stream's beginning, this included.
        """
        self._newest_s = max(audio_s - self._left_s, 0.0)
        self._left_s = max(audio_s, self._left_s)
        if self._ends_s is None:
            self._ends_s = now_s
        late_s = now_s - self._ends_s
        if late_s > self._grace_s:
            self.underruns += 1
            self.underrun_s += late_s
        self._ends_s = max(self._ends_s, now_s) + self._newest_s

    def taken(self, now_s: float) -> None:
        """The listener has taken what was ready; who takes it late plays it late."""
        if self._ends_s is not None:
            self._ends_s = max(self._ends_s, now_s + self._newest_s)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request for speech, as its ingress answered it.

    Args:
        engine, model: Who spoke.
        simulated: Any of it was.
        wall_s: From its arrival to its end.
        first_audio_s: From its arrival to its first bytes of audio, or None without any.
        audio_s: Audio that left.
        retries: What had to be spoken again or split: kind, error code and how often.
        underruns, underrun_s: How often its listener had to wait, and how long in all.
        error: Error code if it failed, ``cancelled`` if its client left, or None.
        trace_id: 32 hex digits, or "" when not sampled.
    """

    engine: str
    model: str
    simulated: bool
    wall_s: float
    first_audio_s: float | None
    audio_s: float
    retries: tuple[tuple[str, str, int], ...] = ()
    underruns: int = 0
    underrun_s: float = 0.0
    error: str | None = None
    trace_id: str = ""

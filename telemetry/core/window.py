"""The last minute of samples and the last syntheses of one node, in bounded memory.

Both classes are plain state without clocks, threads or locks: whoever owns one passes the
monotonic time in and calls it from one thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import reduce

from telemetry.core.sample import CANCELLED, CardSample, SynthesisRecord, unknown_uuid


@dataclass(frozen=True, slots=True)
class AgedSample:
    """A card's newest sample and how old it is.

    Args:
        sample: The sample.
        age_s: Seconds since it was taken, by a monotonic clock.
    """

    sample: CardSample
    age_s: float


class SampleWindow:
    """The newest samples of every card, bounded in age and in number.

    The newest sample of a card that stopped answering is kept longer than the window, so that
    its age can be told; after *forget_s* the card is forgotten.

    Args:
        max_age_s: Samples older than this leave.
        max_samples: Samples kept per card at most, whatever their age.
        forget_s: Seconds without a sample after which a card is no longer known.
    """

    def __init__(
        self, *, max_age_s: float = 60.0, max_samples: int = 120, forget_s: float = 600.0
    ) -> None:
        if not 0 < max_age_s <= forget_s or max_samples < 1:
            raise ValueError(
                f"a window needs 0 < max_age_s <= forget_s and max_samples >= 1, "
                f"got {max_age_s}, {forget_s}, {max_samples}"
            )
        self._max_age_s = max_age_s
        self._max_samples = max_samples
        self._forget_s = forget_s
        self._rings: dict[str, deque[tuple[float, CardSample]]] = {}

    def add(self, now: float, samples: Iterable[CardSample]) -> None:
        """Keep one reading of the node's cards, taken at monotonic time *now*."""
        for sample in samples:
            ring = self._rings.setdefault(sample.uuid, deque(maxlen=self._max_samples))
            ring.append((now, sample))
            if sample.uuid != (nameless := unknown_uuid(sample.index)):
                self._rings.pop(nameless, None)
        for uuid, ring in list(self._rings.items()):
            while len(ring) > 1 and now - ring[0][0] > self._max_age_s:
                ring.popleft()
            if now - ring[-1][0] > self._forget_s:
                del self._rings[uuid]

    def forget(self, uuids: Collection[str]) -> None:
        """Forget cards that are no longer read."""
        for uuid in uuids:
            self._rings.pop(uuid, None)

    def samples(self, now: float, since: float | None = None) -> tuple[CardSample, ...]:
        """Every card's samples of the last ``max_age_s``, oldest first.

        Args:
            now: Monotonic time.
            since: Only samples whose ``timestamp`` (Unix time) is later than this.
        """
        kept = [
            sample
            for ring in self._rings.values()
            for taken, sample in ring
            if now - taken <= self._max_age_s and (since is None or sample.timestamp > since)
        ]
        return tuple(sorted(kept, key=lambda sample: (sample.timestamp, sample.index)))

    def card(self, uuid: str) -> tuple[CardSample, ...]:
        """What is kept of one card, oldest first; nothing of one that is not known."""
        return tuple(sample for _, sample in self._rings.get(uuid, ()))

    def latest(self, now: float) -> tuple[AgedSample, ...]:
        """The newest sample of every known card, by index, with its age at *now*."""
        newest = [
            AgedSample(ring[-1][1], age_s)
            for ring in self._rings.values()
            if (age_s := now - ring[-1][0]) <= self._forget_s
        ]
        return tuple(sorted(newest, key=lambda aged: (aged.sample.index, aged.sample.uuid)))


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over syntheses; the sums of two nodes add up (:meth:`merged`).

    Failed and cancelled attempts add nothing to the sums: their audio reached nobody.

    Args:
        count, failures, simulated: Attempts, those that failed (cancelled is not failed), those
            that were simulated.
        audio_s, wall_s: Seconds of audio, and seconds on a slot that they took.
        input_characters, input_tokens, output_tokens: Size of the work.
        first_start, last_end: Unix times of the first start and the last end, or None.
    """

    count: int = 0
    failures: int = 0
    simulated: int = 0
    audio_s: float = 0.0
    wall_s: float = 0.0
    input_characters: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first_start: float | None = None
    last_end: float | None = None

    @classmethod
    def of(cls, record: SynthesisRecord) -> Totals:
        """The totals of one synthesis."""
        if record.error is not None:
            failed = record.error != CANCELLED
            return cls(count=1, failures=int(failed), simulated=int(record.simulated))
        return cls(
            count=1,
            simulated=int(record.simulated),
            audio_s=record.audio_s,
            wall_s=record.wall_s,
            input_characters=record.input_characters,
            input_tokens=record.input_tokens,
            output_tokens=record.output_tokens,
            first_start=record.timestamp - record.wall_s,
            last_end=record.timestamp,
        )

    def merged(self, other: Totals) -> Totals:
        """The totals of both."""
        starts = [t for t in (self.first_start, other.first_start) if t is not None]
        ends = [t for t in (self.last_end, other.last_end) if t is not None]
        return Totals(
            count=self.count + other.count,
            failures=self.failures + other.failures,
            simulated=self.simulated + other.simulated,
            audio_s=self.audio_s + other.audio_s,
            wall_s=self.wall_s + other.wall_s,
            input_characters=self.input_characters + other.input_characters,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            first_start=min(starts, default=None),
            last_end=max(ends, default=None),
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first start to the last end, idle time between them included."""
        if self.first_start is None or self.last_end is None:
            return 0.0
        return max(self.last_end - self.first_start, 0.0)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds on a slot per second of audio; None without audio."""
        return self.wall_s / self.audio_s if self.audio_s > 0 else None

    @property
    def throughput_rt(self) -> float | None:
        """Seconds of audio per second of ``elapsed_s``: what the whole fleet delivered."""
        return self.audio_s / self.elapsed_s if self.elapsed_s > 0 else None


def merge_totals(parts: Iterable[Totals]) -> Totals:
    """The totals of all *parts*."""
    return reduce(Totals.merged, parts, Totals())


class RecordBook:
    """The last syntheses in full and all of them as totals.

    Args:
        last: Records kept in full.
    """

    def __init__(self, last: int = 20) -> None:
        self._last: deque[SynthesisRecord] = deque(maxlen=last)
        self._totals = Totals()

    def add(self, record: SynthesisRecord) -> None:
        """Count a synthesis and keep it while it is among the last."""
        self._last.append(record)
        self._totals = self._totals.merged(Totals.of(record))

    @property
    def last(self) -> tuple[SynthesisRecord, ...]:
        """The records kept in full, in the order they came."""
        return tuple(self._last)

    @property
    def totals(self) -> Totals:
        """Sums over every synthesis so far."""
        return self._totals

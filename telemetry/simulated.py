"""Cards that exist only in software, and warm up under the load that replicas report.

Each card is a first-order thermal body: its temperature approaches the one that its load would
hold, with time constant ``tau_s``: ``T += (T_load - T) * (1 - exp(-dt / tau))``. Utilisation,
power and clocks follow the load at once; energy is power times time. From its slowdown point on a
card says so and holds its clocks down. What no load brings about (memory errors, faults, processes)
is absent. Every sample says ``simulated=True``.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from telemetry.core.reader import CardSource, Lane, Reading, UnknownCardError
from telemetry.core.sample import CardSample
from telemetry.core.throttle import throttle_reasons

GIB = 2**30


@dataclass(frozen=True, slots=True)
class CardModel:
    """What a simulated card is like.

    Args:
        idle_c, full_c: Temperatures held without load and under full load.
        tau_s: Time constant of warming and cooling.
        idle_w, limit_w: Power without load and under full load.
        memory_bytes: Memory of the card.
        idle_memory_bytes, slot_memory_bytes: Memory used by nothing, and by each busy slot.
        idle_mhz, full_mhz, memory_mhz: Clocks.
        slowed_mhz: Clock that a card too hot is held to.
        max_operating_c, slowdown_c, shutdown_c: Thresholds, as in
            :class:`~telemetry.core.sample.CardSample`.
    """

    idle_c: float = 34.0
    full_c: float = 68.0
    tau_s: float = 40.0
    idle_w: float = 70.0
    limit_w: float = 400.0
    memory_bytes: int = 80 * GIB
    idle_memory_bytes: int = 8 * GIB
    slot_memory_bytes: int = 2 * GIB
    idle_mhz: float = 345.0
    full_mhz: float = 1_980.0
    memory_mhz: float = 2_619.0
    slowed_mhz: float = 990.0
    max_operating_c: float = 85.0
    slowdown_c: float = 87.0
    shutdown_c: float = 92.0


@dataclass(slots=True)
class _Card:
    """State of one card, guarded by the reader's lock."""

    index: int
    uuid: str
    temp_c: float
    energy_j: float = 0.0
    busy: int = 0
    slots: int = 0

    @property
    def load(self) -> float:
        return min(self.busy / self.slots, 1.0) if self.slots > 0 else 0.0


class SimulatedCards:
    """A :class:`~telemetry.core.reader.CardReader` of cards that do not exist.

    Args:
        count: Number of cards, at least 1.
        node: Node id; the cards are called ``SIM-<first 8 characters of it>-<index>``.
        model: What they are like.
        before: Cards of the same node whose heat, energy and load those of the same name take on.
        clock: Monotonic time, s.
        wall: Unix time, s, for the samples' timestamps.

    Raises:
        ValueError: *count* is below 1.
    """

    source: CardSource = "simulated"

    def __init__(
        self,
        count: int,
        *,
        node: str,
        model: CardModel | None = None,
        before: SimulatedCards | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if count < 1:
            raise ValueError(f"simulated cards must be at least 1, got {count}")
        self._model = model or CardModel()
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._stepped_at = clock()
        uuids = [f"SIM-{node[:8]}-{index}" for index in range(count)]
        self._cards = {
            uuid: _Card(index, uuid, self._model.idle_c) for index, uuid in enumerate(uuids)
        }
        if before is not None:
            self._cards |= {
                uuid: card for uuid, card in before.state().items() if uuid in self._cards
            }
        self._lanes = (Lane("simulated cards", lambda: Reading(self.read())),)

    def lanes(self) -> tuple[Lane, ...]:
        """All cards in one lane; they never hang."""
        return self._lanes

    @property
    def uuids(self) -> tuple[str, ...]:
        """The cards' UUIDs, by index."""
        return tuple(self._cards)

    def state(self) -> dict[str, _Card]:
        """A copy of every card as it is now, by UUID."""
        with self._lock:
            self._step()
            return {uuid: replace(card) for uuid, card in self._cards.items()}

    def set_load(self, uuid: str, busy_slots: int, slots: int) -> None:
        """Set what a card is doing from now on.

        Args:
            uuid: One of ``uuids``.
            busy_slots: Slots that are speaking.
            slots: Slots in all; 0 means an idle card.

        Raises:
            UnknownCardError: There is no such card.
        """
        with self._lock:
            card = self._cards.get(uuid)
            if card is None:
                raise UnknownCardError(f"no simulated card {uuid!r}; there are {list(self._cards)}")
            self._step()
            card.busy, card.slots = max(busy_slots, 0), max(slots, 0)

    def read(self) -> tuple[CardSample, ...]:
        """One sample per card at the clock's present time."""
        with self._lock:
            self._step()
            timestamp = self._wall()
            return tuple(self._sample(card, timestamp) for card in self._cards.values())

    def problems(self) -> tuple[str, ...]:
        """Nothing can go wrong here."""
        return ()

    def close(self) -> None:
        """Nothing to let go of."""

    def _step(self) -> None:
        """Bring every card to the present; loads are constant between two steps."""
        now = self._clock()
        model = self._model
        passed_s = max(now - self._stepped_at, 0.0)
        share = 1.0 - math.exp(-passed_s / model.tau_s)
        self._stepped_at = now
        for card in self._cards.values():
            held_c = model.idle_c + card.load * (model.full_c - model.idle_c)
            card.temp_c += (held_c - card.temp_c) * share
            card.energy_j += self._power_w(card) * passed_s

    def _power_w(self, card: _Card) -> float:
        model = self._model
        return model.idle_w + card.load * (model.limit_w - model.idle_w)

    def _sample(self, card: _Card, timestamp: float) -> CardSample:
        model, load = self._model, card.load
        used = model.idle_memory_bytes + card.busy * model.slot_memory_bytes
        used = min(used, model.memory_bytes)
        hot = card.temp_c >= model.slowdown_c
        clock_mhz = model.idle_mhz + load * (model.full_mhz - model.idle_mhz)
        return CardSample(
            timestamp=timestamp,
            index=card.index,
            uuid=card.uuid,
            name="Simulated card",
            simulated=True,
            gpu_util=100.0 * load,
            mem_used_bytes=used,
            mem_free_bytes=model.memory_bytes - used,
            mem_total_bytes=model.memory_bytes,
            temp_c=card.temp_c,
            temp_max_operating_c=model.max_operating_c,
            temp_slowdown_c=model.slowdown_c,
            temp_shutdown_c=model.shutdown_c,
            margin_c=model.slowdown_c - card.temp_c,
            power_w=self._power_w(card),
            power_limit_w=model.limit_w,
            energy_j=card.energy_j,
            sm_clock_mhz=min(clock_mhz, model.slowed_mhz) if hot else clock_mhz,
            mem_clock_mhz=model.memory_mhz,
            throttle=throttle_reasons(_reasons(hot=hot, idle=load == 0.0)),
        )


def _reasons(*, hot: bool, idle: bool) -> int:
    """NVML's mask for a card that is hot (hardware slowdown for heat), idle, or neither."""
    return 0x48 if hot else int(idle)

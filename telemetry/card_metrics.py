"""A node's cards as OpenTelemetry metrics.

The callbacks run on the exporter's thread, which a dead collector may hold up for seconds. They
only read the sampler's last snapshot: they never call a driver, and nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from telemetry import instruments
from telemetry.core.sample import CardSample
from telemetry.core.window import AgedSample
from telemetry.instruments import Instrument, Kind
from telemetry.node import ReplicaLoad

Latest = Callable[[], Iterable[AgedSample]]
Loads = Callable[[], Iterable[ReplicaLoad]]
Attributes = Mapping[str, str | bool]
Point = tuple[float | None, Attributes]
"""A value, None where there is none, and attributes beyond the card's own."""

STATES = ("ok", "failed")


def _per(value: float | None, divisor: float | None) -> float | None:
    return value / divisor if value is not None and divisor else None


def _times(value: float | None, factor: float) -> float | None:
    return value * factor if value is not None else None


def _points(sample: CardSample) -> dict[Instrument, list[Point]]:
    """What a fresh sample says, by instrument."""
    state = "ok" if sample.error is None else "failed"
    domain = "vibevoice.gpu.clock.domain"
    return {
        instruments.CARD_UTILIZATION: [(_per(sample.gpu_util, 100.0), {})],
        instruments.CARD_MEMORY_USAGE: [(sample.mem_used_bytes, {})],
        instruments.CARD_MEMORY_LIMIT: [(sample.mem_total_bytes, {})],
        instruments.CARD_MEMORY_UTILIZATION: [
            (_per(sample.mem_used_bytes, sample.mem_total_bytes), {})
        ],
        instruments.CARD_TEMPERATURE: [(sample.temp_c, {"hw.sensor_location": "gpu"})],
        instruments.CARD_POWER: [(sample.power_w, {})],
        instruments.CARD_POWER_LIMIT: [(sample.power_limit_w, {})],
        instruments.CARD_CLOCK: [
            (_times(sample.sm_clock_mhz, 1e6), {domain: "sm"}),
            (_times(sample.mem_clock_mhz, 1e6), {domain: "memory"}),
        ],
        instruments.CARD_STATUS: [(int(name == state), {"hw.state": name}) for name in STATES],
    }


def _identity(sample: CardSample) -> Attributes:
    return {
        "hw.id": sample.uuid,
        "hw.type": "gpu",
        "hw.name": sample.name,
        "hw.vendor": "simulated" if sample.simulated else "NVIDIA",
        "vibevoice.simulated": sample.simulated,
    }


def _observe_signal(
    instrument: Instrument, latest: Latest, stale_after_s: float, _options: CallbackOptions
) -> Iterator[Observation]:
    """Every fresh card's points of one instrument; a stale or absent one gives none."""
    for aged in latest():
        if aged.age_s > stale_after_s:
            continue
        for value, extra in _points(aged.sample)[instrument]:
            if value is not None:
                yield Observation(value, {**_identity(aged.sample), **extra})


def _observe_age(latest: Latest, _options: CallbackOptions) -> Iterator[Observation]:
    for aged in latest():
        yield Observation(aged.age_s, _identity(aged.sample))


def _observe_slots(loads: Loads, name: str, _options: CallbackOptions) -> Iterator[Observation]:
    """Sum of one field of the replicas' reports, by card."""
    sums: dict[str, int] = {}
    for load in loads():
        if load.card_uuid is not None:
            sums[load.card_uuid] = sums.get(load.card_uuid, 0) + getattr(load, name)
    for uuid, total in sums.items():
        yield Observation(total, {"hw.id": uuid})


def observe_cards(meter: Meter, *, latest: Latest, loads: Loads, stale_after_s: float) -> None:
    """Register a node's card metrics.

    Args:
        meter: Where to register.
        latest: Newest sample of every card with its age; must return at once.
        loads: What the node's replicas do; must return at once.
        stale_after_s: Age from which only a card's age is told.
    """
    for instrument in instruments.CARD_INSTRUMENTS:
        if instrument is instruments.CARD_SAMPLE_AGE:
            callback = partial(_observe_age, latest)
        elif instrument is instruments.SLOTS_BUSY:
            callback = partial(_observe_slots, loads, "busy")
        elif instrument is instruments.SLOTS_LIMIT:
            callback = partial(_observe_slots, loads, "slots")
        else:
            callback = partial(_observe_signal, instrument, latest, stale_after_s)
        create = {
            Kind.OBSERVABLE_GAUGE: meter.create_observable_gauge,
            Kind.OBSERVABLE_UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
        }[instrument.kind]
        create(
            instrument.name,
            callbacks=[callback],
            unit=instrument.unit,
            description=instrument.description,
        )

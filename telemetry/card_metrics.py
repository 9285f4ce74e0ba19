"""A node's cards as OpenTelemetry metrics.

The callbacks run on the exporter's thread, which a dead collector may hold up for seconds. They
only read the sampler's last snapshot: they never call a driver, and nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from telemetry.instrument import Instrument, Kind
from telemetry.readings import READ, NodeReadings, Point


def observe_cards(meter: Meter, readings: NodeReadings) -> None:
    """Register a node's card metrics.

    Args:
        meter: Where to register.
        readings: What the node knows.
    """
    for instrument, read in READ.items():
        observe(meter, instrument, partial(read, readings))


def observe(meter: Meter, spec: Instrument, points: Callable[[], Iterator[Point]]) -> None:
    """Register an observable instrument whose points are asked for at each export."""

    def callback(_options: CallbackOptions) -> Iterator[Observation]:
        for value, attributes in points():
            yield Observation(value, dict(attributes))

    create = {
        Kind.OBSERVABLE_COUNTER: meter.create_observable_counter,
        Kind.OBSERVABLE_GAUGE: meter.create_observable_gauge,
        Kind.OBSERVABLE_UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
    }[spec.kind]
    create(spec.name, callbacks=[callback], unit=spec.unit, description=spec.description)

"""What a node knows, as points of the declared instruments: one table for every exporter.

The OTLP callbacks read it from the running telemetry (:mod:`telemetry.card_metrics`), ``GET
/metrics`` from the nodes' snapshots (:mod:`telemetry.fleet_metrics`). What a card does not tell
gives no point, and of a stale card only its age, its faults and its guard are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from telemetry import instruments as i
from telemetry.card_watch import ActiveAlert, CardGuard
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import ExportState
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.throttle import OTHER, REASONS
from telemetry.core.window import AgedSample
from telemetry.instrument import Instrument

Attributes = Mapping[str, str | bool]
Point = tuple[float, Attributes]
Told = tuple[float | bool | None, Attributes]
"""A value, None where there is none, and attributes beyond the card's own."""

STATES: Final = ("ok", "failed")
GUARD_STATES: Final = ("open", "eased", "paused")
OUTCOMES: Final = ("sent", "failed", "dropped")
_NONE: Final[Attributes] = MappingProxyType({})


class NodeReadings(Protocol):
    """What a node knows now; every method returns at once."""

    @property
    def stale_after_s(self) -> float:
        """Age from which only a card's age, faults and guard are told."""
        ...

    def latest(self) -> Iterable[AgedSample]:
        """Newest sample of every card with its age."""
        ...

    def loads(self) -> Iterable[ReplicaLoad]:
        """What the node's replicas do."""
        ...

    def guards(self) -> Iterable[CardGuard]:
        """How much new work each card may take."""
        ...

    def alerts(self) -> Iterable[ActiveAlert]:
        """Alerts that are on."""
        ...

    def faults(self) -> Iterable[XidEvent]:
        """All faults so far, by card and number."""
        ...

    def channels(self) -> Iterable[ChannelCount]:
        """What became of the messages about the node's cards."""
        ...


def _one(read: Callable[[CardSample], float | bool | None]) -> Callable[[CardSample], list[Told]]:
    return lambda sample: [(read(sample), _NONE)]


def _per(value: float | None, divisor: float | None) -> float | None:
    return value / divisor if value is not None and divisor else None


def _temperatures(s: CardSample) -> list[Told]:
    place = "hw.sensor_location"
    return [(s.temp_c, {place: "gpu"}), (s.mem_temp_c, {place: "memory"})]


def _temperature_limits(s: CardSample) -> list[Told]:
    return [
        (s.temp_slowdown_c, {"hw.limit_type": "high.degraded"}),
        (s.temp_shutdown_c, {"hw.limit_type": "high.critical"}),
        (s.temp_max_operating_c, {"hw.limit_type": "max"}),
    ]


def _clocks(s: CardSample) -> list[Told]:
    domain = "vibevoice.gpu.clock.domain"
    return [
        (_per(s.sm_clock_mhz, 1e-6), {domain: "sm"}),
        (_per(s.mem_clock_mhz, 1e-6), {domain: "memory"}),
    ]


def _throttled(s: CardSample) -> list[Told]:
    told = s.throttle
    if told is None:
        return []
    return [
        (reason in told, {"vibevoice.gpu.throttle.reason": reason}) for reason in (*REASONS, OTHER)
    ]


def _status(s: CardSample) -> list[Told]:
    state = "ok" if s.error is None else "failed"
    return [(name == state, {"hw.state": name}) for name in STATES]


def _errors(s: CardSample) -> list[Told]:
    return [
        (s.ecc_corrected, {"error.type": "ecc_corrected"}),
        (s.ecc_uncorrected, {"error.type": "ecc_uncorrected"}),
        (s.pcie_replays, {"error.type": "pcie_replay"}),
    ]


def _lifetime_errors(s: CardSample) -> list[Told]:
    return [
        (s.ecc_corrected_total, {"error.type": "ecc_corrected"}),
        (s.ecc_uncorrected_total, {"error.type": "ecc_uncorrected"}),
    ]


def _rows(s: CardSample) -> list[Told]:
    return [
        (s.rows_corrected, {"error.type": "ecc_corrected"}),
        (s.rows_uncorrected, {"error.type": "ecc_uncorrected"}),
    ]


def _process_memory(s: CardSample) -> int | None:
    """Bytes that the programs hold which tell; 0 where there is no program."""
    told = [one.mem_bytes for one in s.processes or () if one.mem_bytes is not None]
    return sum(told) if told or s.processes == () else None


def _info(s: CardSample) -> list[Told]:
    told = {"hw.driver_version": s.driver_version, "vibevoice.gpu.pci.bus_id": s.pci_bus_id}
    known = {name: value for name, value in told.items() if value is not None}
    return [(1, known)] if known else []


_SIGNALS: Final[Mapping[Instrument, Callable[[CardSample], list[Told]]]] = MappingProxyType(
    {
        i.CARD_UTILIZATION: _one(lambda s: _per(s.gpu_util, 100.0)),
        i.CARD_BUS_UTILIZATION: _one(lambda s: _per(s.mem_bus_util, 100.0)),
        i.CARD_MEMORY_USAGE: _one(lambda s: s.mem_used_bytes),
        i.CARD_MEMORY_LIMIT: _one(lambda s: s.mem_total_bytes),
        i.CARD_MEMORY_UTILIZATION: _one(lambda s: _per(s.mem_used_bytes, s.mem_total_bytes)),
        i.CARD_MEMORY_FREE: _one(lambda s: s.mem_free_bytes),
        i.CARD_MEMORY_RESERVED: _one(lambda s: s.mem_reserved_bytes),
        i.CARD_TEMPERATURE: _temperatures,
        i.CARD_TEMPERATURE_LIMIT: _temperature_limits,
        i.CARD_MARGIN: _one(lambda s: s.margin_c),
        i.CARD_POWER: _one(lambda s: s.power_w),
        i.CARD_POWER_LIMIT: _one(lambda s: s.power_limit_w),
        i.CARD_ENERGY: _one(lambda s: s.energy_j),
        i.CARD_CLOCK: _clocks,
        i.CARD_PSTATE: _one(lambda s: s.pstate),
        i.CARD_FAN: _one(lambda s: _per(s.fan_percent, 100.0)),
        i.CARD_THROTTLED: _throttled,
        i.CARD_STATUS: _status,
        i.CARD_ERRORS: _errors,
        i.CARD_LIFETIME_ERRORS: _lifetime_errors,
        i.CARD_ROWS: _rows,
        i.CARD_ROWS_PENDING: _one(lambda s: s.rows_pending),
        i.CARD_ROWS_FAILED: _one(lambda s: s.rows_failed),
        i.CARD_MIG: _one(lambda s: s.mig),
        i.CARD_PROCESSES: _one(lambda s: None if s.processes is None else len(s.processes)),
        i.CARD_PROCESS_MEMORY: _one(_process_memory),
        i.CARD_INFO: _info,
    }
)


def _identity(sample: CardSample) -> Attributes:
    return {
        "hw.id": sample.uuid,
        "hw.type": "gpu",
        "hw.name": sample.name,
        "hw.vendor": "simulated" if sample.simulated else "NVIDIA",
        "vibevoice.simulated": sample.simulated,
    }


def _signal(instrument: Instrument, readings: NodeReadings) -> Iterator[Point]:
    """Every fresh card's points of one instrument."""
    read = _SIGNALS[instrument]
    for aged in readings.latest():
        if aged.age_s > readings.stale_after_s:
            continue
        for value, extra in read(aged.sample):
            if value is not None:
                yield _number(value), {**_identity(aged.sample), **extra}


def _number(value: float | bool) -> float:
    return int(value) if isinstance(value, bool) else value


def _faults(readings: NodeReadings) -> Iterator[Point]:
    yield from _signal(i.CARD_ERRORS, readings)
    cards = {aged.sample.uuid: aged.sample for aged in readings.latest()}
    for event in readings.faults():
        if (sample := cards.get(event.uuid)) is not None:
            kind = {"error.type": "xid", "vibevoice.gpu.xid": str(event.xid)}
            yield event.count, {**_identity(sample), **kind}


def _age(readings: NodeReadings) -> Iterator[Point]:
    for aged in readings.latest():
        yield aged.age_s, _identity(aged.sample)


def _guard(readings: NodeReadings) -> Iterator[Point]:
    for guard in readings.guards():
        for state in GUARD_STATES:
            yield int(guard.state == state), {"hw.id": guard.uuid, "vibevoice.gpu.guard": state}


def _paused(readings: NodeReadings) -> Iterator[Point]:
    for guard in readings.guards():
        yield int(guard.state == "paused"), {"hw.id": guard.uuid}


def alert_points(alerts: Iterable[ActiveAlert]) -> Iterator[Point]:
    """One point for each alert."""
    for alert in alerts:
        yield (
            1,
            {
                "vibevoice.alert.rule": alert.rule,
                "vibevoice.alert.severity": alert.severity,
                "vibevoice.alert.subject": alert.subject,
            },
        )


def _alerts(readings: NodeReadings) -> Iterator[Point]:
    return alert_points(readings.alerts())


def notice_points(channels: Iterable[ChannelCount]) -> Iterator[Point]:
    """Three points for each channel."""
    for one in channels:
        for outcome in OUTCOMES:
            told = {"vibevoice.alert.channel": one.name, "vibevoice.alert.outcome": outcome}
            yield getattr(one, outcome), told


def waiting_points(channels: Iterable[ChannelCount]) -> Iterator[Point]:
    """One point for each channel."""
    for one in channels:
        yield one.waiting, {"vibevoice.alert.channel": one.name}


def _export_points(name: str, exports: Iterable[ExportState]) -> Iterator[Point]:
    """One point for each signal."""
    for state in exports:
        yield getattr(state, name), {"vibevoice.signal": state.signal}


ReadExports = Callable[[Iterable[ExportState]], Iterator[Point]]
"""From the states of exports to points."""

EXPORT_POINTS: Final[Mapping[Instrument, ReadExports]] = MappingProxyType(
    {
        i.EXPORT_FAILURES: partial(_export_points, "failures"),
        i.EXPORT_DROPPED: partial(_export_points, "dropped"),
        i.EXPORT_FAILING: partial(_export_points, "failing_s"),
    }
)
"""How each instrument about exports is read from their states."""


def _notices(readings: NodeReadings) -> Iterator[Point]:
    return notice_points(readings.channels())


def _waiting(readings: NodeReadings) -> Iterator[Point]:
    return waiting_points(readings.channels())


def _slots(name: str, readings: NodeReadings) -> Iterator[Point]:
    """Sum of one field of the replicas' reports by card; those without a card are one sum."""
    sums: dict[str | None, int] = {}
    for load in readings.loads():
        sums[load.card_uuid] = sums.get(load.card_uuid, 0) + getattr(load, name)
    for uuid, total in sums.items():
        yield total, {} if uuid is None else {"hw.id": uuid}


Read = Callable[[NodeReadings], Iterator[Point]]
"""From what a node knows to points."""

READ: Final[Mapping[Instrument, Read]] = MappingProxyType(
    {
        **{instrument: partial(_signal, instrument) for instrument in _SIGNALS},
        i.CARD_ERRORS: _faults,
        i.CARD_SAMPLE_AGE: _age,
        i.CARD_GUARD: _guard,
        i.CARD_PAUSED: _paused,
        i.ALERTS: _alerts,
        i.NOTICES: _notices,
        i.NOTICES_WAITING: _waiting,
        i.SLOTS_BUSY: partial(_slots, "busy"),
        i.SLOTS_LIMIT: partial(_slots, "slots"),
    }
)
"""How each instrument that is observed on a node is read."""

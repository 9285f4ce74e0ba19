"""The declared metrics, and that what is exported is what is declared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, Sum

import telemetry
from telemetry.card_metrics import observe_cards
from telemetry.card_watch import ActiveAlert, CardGuard
from telemetry.core.channels import ChannelCount
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.sample import CardProcess, CardSample, XidEvent
from telemetry.core.throttle import REASONS
from telemetry.core.window import AgedSample
from telemetry.instrument import Kind
from telemetry.instruments import (
    AUDIO_ENERGY,
    NODE_INSTRUMENTS,
    PROCESS_INSTRUMENTS,
    REQUEST_INSTRUMENTS,
    SYNTHESIS_INSTRUMENTS,
)
from telemetry.metrics_document import markdown
from telemetry.readings import READ
from tests.metric_points import attributes_of, metrics_of, numbers

INSTRUMENTS = (
    *NODE_INSTRUMENTS,
    *SYNTHESIS_INSTRUMENTS,
    *REQUEST_INSTRUMENTS,
    *PROCESS_INSTRUMENTS,
)
GIB = 2**30
FULL = CardSample(
    timestamp=1.0,
    index=0,
    uuid="GPU-a",
    name="NVIDIA H100",
    simulated=False,
    gpu_util=25.0,
    mem_used_bytes=20 * GIB,
    mem_total_bytes=80 * GIB,
    temp_c=61.0,
    power_w=300.0,
    power_limit_w=700.0,
    sm_clock_mhz=1980.0,
    mem_clock_mhz=2619.0,
    mem_bus_util=10.0,
    mem_free_bytes=59 * GIB,
    mem_reserved_bytes=GIB,
    mem_temp_c=70.0,
    temp_slowdown_c=87.0,
    temp_shutdown_c=92.0,
    temp_max_operating_c=83.0,
    margin_c=26.0,
    energy_j=1_234.5,
    pstate=0,
    fan_percent=40.0,
    throttle=("power_cap",),
    ecc_corrected=3,
    ecc_uncorrected=0,
    ecc_corrected_total=30,
    ecc_uncorrected_total=1,
    rows_corrected=1,
    rows_uncorrected=0,
    rows_pending=False,
    rows_failed=False,
    pcie_replays=2,
    mig=False,
    processes=(CardProcess(1), CardProcess(2, GIB)),
    driver_version="580.1",
    pci_bus_id="0000:01:00.0",
)
BARE = CardSample(1.0, 1, "GPU-b", "NVIDIA A2", simulated=False, temp_c=0.0)
LOST = CardSample(1.0, 2, "GPU-c", "NVIDIA A2", simulated=False, error="GPU is lost")


@dataclass
class Readings:
    """Is a :class:`telemetry.readings.NodeReadings`."""

    cards: list[AgedSample]
    replicas: tuple[ReplicaLoad, ...] = ()
    guarded: tuple[CardGuard, ...] = ()
    on: tuple[ActiveAlert, ...] = ()
    seen: tuple[XidEvent, ...] = ()
    told: tuple[ChannelCount, ...] = ()
    stale_after_s: float = 3.0

    def latest(self) -> list[AgedSample]:
        return self.cards

    def loads(self) -> tuple[ReplicaLoad, ...]:
        return self.replicas

    def guards(self) -> tuple[CardGuard, ...]:
        return self.guarded

    def alerts(self) -> tuple[ActiveAlert, ...]:
        return self.on

    def faults(self) -> tuple[XidEvent, ...]:
        return self.seen

    def channels(self) -> tuple[ChannelCount, ...]:
        return self.told


def exported(readings: Readings) -> dict[str, Metric]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe_cards(provider.get_meter("test"), readings)
    metrics = metrics_of(reader)
    provider.shutdown()
    return metrics


def values(metric: Metric, key: str = "hw.id") -> dict[object, float]:
    return {attributes_of(point)[key]: point.value for point in numbers(metric)}


def test_the_document_is_up_to_date() -> None:
    written = Path(telemetry.__file__).with_name("METRICS.md").read_text(encoding="utf-8")
    assert written == markdown(), "run: python -m telemetry.metrics_document > telemetry/METRICS.md"


def test_names_are_unique_and_buckets_rise() -> None:
    assert len({i.name for i in INSTRUMENTS}) == len(INSTRUMENTS)
    for instrument in INSTRUMENTS:
        assert instrument.name.startswith(("hw.", "gen_ai.", "vibevoice."))
        assert instrument.description.endswith(".")
        assert (instrument.kind is Kind.HISTOGRAM) == bool(instrument.buckets)
        assert list(instrument.buckets) == sorted(set(instrument.buckets))


def test_every_instrument_of_a_node_is_read_from_it() -> None:
    # The energy of a segment is recorded when it ends, not read.
    assert set(READ) == set(NODE_INSTRUMENTS) - {AUDIO_ENERGY}


def test_a_card_s_metrics_are_the_declared_ones_with_the_declared_attributes() -> None:
    readings = Readings(
        [AgedSample(FULL, 0.5)],
        (ReplicaLoad("r1", "GPU-a", 1, 4, 0.0), ReplicaLoad("r2", "GPU-a", 2, 4, 0.0)),
        (CardGuard("GPU-a", "paused", "76 C", 4.0),),
        (ActiveAlert("card_hot", "warning", "hot", "GPU-a", "card 0", 81.0, "C", False),),
        (XidEvent(1.0, "GPU-a", 79, 2), XidEvent(1.0, "GPU-gone", 79, 1)),
        (ChannelCount("mail", sent=3, failed=2, dropped=1, waiting=4),),
    )
    metrics = exported(readings)
    assert set(metrics) == {i.name for i in READ}
    for declared in READ:
        metric = metrics[declared.name]
        assert (metric.unit, metric.description) == (declared.unit, declared.description)
        for point in metric.data.data_points:
            optional = {"vibevoice.gpu.xid"}
            assert set(attributes_of(point)) | optional == set(declared.attributes) | optional
    assert values(metrics["hw.gpu.utilization"]) == {"GPU-a": 0.25}
    assert values(metrics["hw.gpu.memory.usage"]) == {"GPU-a": 20 * GIB}
    assert values(metrics["hw.gpu.memory.utilization"]) == {"GPU-a": 0.25}
    assert values(metrics["vibevoice.gpu.processes.memory"]) == {"GPU-a": GIB}
    places = values(metrics["hw.temperature"], "hw.sensor_location")
    assert places == {"gpu": 61.0, "memory": 70.0}
    limits = values(metrics["hw.temperature.limit"], "hw.limit_type")
    assert limits == {"high.degraded": 87.0, "high.critical": 92.0, "max": 83.0}
    clocks = values(metrics["vibevoice.gpu.clock"], "vibevoice.gpu.clock.domain")
    assert clocks == {"sm": 1.98e9, "memory": 2.619e9}
    assert values(metrics["hw.status"], "hw.state") == {"ok": 1, "failed": 0}
    assert values(metrics["hw.energy"]) == {"GPU-a": 1_234.5}
    energy = metrics["hw.energy"].data
    assert isinstance(energy, Sum)
    assert energy.is_monotonic
    errors = values(metrics["hw.errors"], "error.type")
    assert errors == {"ecc_corrected": 3, "ecc_uncorrected": 0, "pcie_replay": 2, "xid": 2}
    throttled = values(metrics["vibevoice.gpu.throttled"], "vibevoice.gpu.throttle.reason")
    assert throttled == {reason: int(reason == "power_cap") for reason in (*REASONS, "other")}
    guard = values(metrics["vibevoice.gpu.guard.state"], "vibevoice.gpu.guard")
    assert guard == {"open": 0, "eased": 0, "paused": 1}
    assert values(metrics["vibevoice.gpu.paused"]) == {"GPU-a": 1}
    assert values(metrics["vibevoice.alerts.active"], "vibevoice.alert.rule") == {"card_hot": 1}
    notices = values(metrics["vibevoice.alerts.notices"], "vibevoice.alert.outcome")
    assert notices == {"sent": 3, "failed": 2, "dropped": 1}
    assert values(metrics["vibevoice.alerts.notices.waiting"], "vibevoice.alert.channel") == {
        "mail": 4
    }
    assert values(metrics["vibevoice.tts.slots.busy"]) == {"GPU-a": 3}
    assert values(metrics["vibevoice.tts.slots.limit"]) == {"GPU-a": 8}


def test_replicas_without_a_card_are_in_flight_too() -> None:
    loads = (ReplicaLoad("r1", None, 1, 1, 0.0), ReplicaLoad("r2", None, 1, 1, 0.0))
    (point,) = numbers(exported(Readings([], loads))["vibevoice.tts.slots.busy"])
    assert (point.value, dict(attributes_of(point))) == (2, {})


def test_what_a_card_does_not_have_is_absent_and_a_zero_is_a_value() -> None:
    metrics = exported(Readings([AgedSample(BARE, 0.0)]))
    assert set(metrics) == {"hw.temperature", "hw.status", "vibevoice.gpu.sample.age"}
    assert values(metrics["hw.temperature"]) == {"GPU-b": 0.0}


def test_a_lost_card_has_failed_and_a_stale_one_tells_only_its_age() -> None:
    metrics = exported(Readings([AgedSample(LOST, 0.0), AgedSample(FULL, 3.1)]))
    assert set(metrics) == {"hw.status", "vibevoice.gpu.sample.age"}
    assert set(values(metrics["hw.status"])) == {"GPU-c"}
    assert values(metrics["hw.status"], "hw.state") == {"ok": 0, "failed": 1}
    assert values(metrics["vibevoice.gpu.sample.age"]) == {"GPU-c": 0.0, "GPU-a": 3.1}


def test_a_changed_age_of_staleness_holds_at_the_next_export() -> None:
    readings = Readings([AgedSample(FULL, 3.1)])
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe_cards(provider.get_meter("test"), readings)
    seen = []
    for stale_after_s in (3.0, 10.0, 3.0):
        readings.stale_after_s = stale_after_s
        data = reader.get_metrics_data()
        assert data is not None
        names = {m.name for m in data.resource_metrics[0].scope_metrics[0].metrics}
        seen.append("hw.gpu.utilization" in names)
    provider.shutdown()
    assert seen == [False, True, False]

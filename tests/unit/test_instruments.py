"""The declared metrics, and that what is exported is what is declared."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

import telemetry
from telemetry.card_metrics import observe_cards
from telemetry.core.sample import CardSample
from telemetry.core.window import AgedSample
from telemetry.instruments import CARD_INSTRUMENTS, INSTRUMENTS, Kind, markdown
from telemetry.node import ReplicaLoad

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
)
BARE = CardSample(1.0, 1, "GPU-b", "NVIDIA A2", simulated=False, temp_c=0.0)
LOST = CardSample(1.0, 2, "GPU-c", "NVIDIA A2", simulated=False, error="GPU is lost")


def exported(cards: list[AgedSample], loads: list[ReplicaLoad]) -> dict[str, Metric]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe_cards(
        provider.get_meter("test"),
        latest=lambda: cards,
        loads=lambda: loads,
        stale_after_s=3.0,
    )
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def values(metric: Metric, key: str = "hw.id") -> dict[object, float]:
    return {point.attributes[key]: point.value for point in metric.data.data_points}


def test_the_document_is_up_to_date() -> None:
    written = Path(telemetry.__file__).with_name("METRICS.md").read_text(encoding="utf-8")
    assert written == markdown(), "run: python -m telemetry.instruments > telemetry/METRICS.md"


def test_names_are_unique_and_buckets_rise() -> None:
    assert len({i.name for i in INSTRUMENTS}) == len(INSTRUMENTS)
    for instrument in INSTRUMENTS:
        assert instrument.name.startswith(("hw.", "gen_ai.", "vibevoice."))
        assert instrument.description.endswith(".")
        assert (instrument.kind is Kind.HISTOGRAM) == bool(instrument.buckets)
        assert list(instrument.buckets) == sorted(set(instrument.buckets))


def test_a_card_s_metrics_are_the_declared_ones_with_the_declared_attributes() -> None:
    loads = [ReplicaLoad("r1", "GPU-a", 1, 4, 0.0), ReplicaLoad("r2", "GPU-a", 2, 4, 0.0)]
    metrics = exported([AgedSample(FULL, 0.5)], loads)
    assert set(metrics) == {i.name for i in CARD_INSTRUMENTS}
    for declared in CARD_INSTRUMENTS:
        metric = metrics[declared.name]
        assert (metric.unit, metric.description) == (declared.unit, declared.description)
        for point in metric.data.data_points:
            assert set(point.attributes) == set(declared.attributes)
    assert values(metrics["hw.gpu.utilization"]) == {"GPU-a": 0.25}
    assert values(metrics["hw.gpu.memory.usage"]) == {"GPU-a": 20 * GIB}
    assert values(metrics["hw.gpu.memory.utilization"]) == {"GPU-a": 0.25}
    assert values(metrics["hw.temperature"]) == {"GPU-a": 61.0}
    clocks = values(metrics["vibevoice.gpu.clock"], "vibevoice.gpu.clock.domain")
    assert clocks == {"sm": 1.98e9, "memory": 2.619e9}
    assert values(metrics["hw.status"], "hw.state") == {"ok": 1, "failed": 0}
    assert values(metrics["vibevoice.tts.slots.busy"]) == {"GPU-a": 3}
    assert values(metrics["vibevoice.tts.slots.limit"]) == {"GPU-a": 8}


def test_what_a_card_does_not_have_is_absent_and_a_zero_is_a_value() -> None:
    metrics = exported([AgedSample(BARE, 0.0)], [])
    assert set(metrics) == {"hw.temperature", "hw.status", "vibevoice.gpu.sample.age"}
    assert values(metrics["hw.temperature"]) == {"GPU-b": 0.0}


def test_a_lost_card_has_failed_and_a_stale_one_tells_only_its_age() -> None:
    metrics = exported([AgedSample(LOST, 0.0), AgedSample(FULL, 3.1)], [])
    assert set(metrics) == {"hw.status", "vibevoice.gpu.sample.age"}
    assert set(values(metrics["hw.status"])) == {"GPU-c"}
    assert values(metrics["hw.status"], "hw.state") == {"ok": 0, "failed": 1}
    assert values(metrics["vibevoice.gpu.sample.age"]) == {"GPU-c": 0.0, "GPU-a": 3.1}

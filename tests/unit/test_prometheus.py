"""``GET /metrics`` read back by Prometheus' own parser, and the other routes over the fleet."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from serve_app import fleet_link
from serve_app.fleet_link import FleetLink, Watch
from serve_app.ingress import problems
from serve_app.ingress.routes_metrics import router
from telemetry.body import to_json
from telemetry.card_watch import ActiveAlert, CardGuard
from telemetry.cluster import ClusterSnapshot, ClusterView, NodeState, NodeView
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import ExportState
from telemetry.core.history import Window
from telemetry.core.ingress_reports import IngressReport
from telemetry.core.messages import Language
from telemetry.core.model_book import ModelBook
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.request import RequestRecord
from telemetry.core.request_book import RequestBook
from telemetry.core.sample import XidEvent
from telemetry.core.window import AgedSample, Totals
from telemetry.fleet_metrics import metrics_text
from telemetry.instrument import Instrument, Kind
from telemetry.prometheus import Family, exposition, name_of
from telemetry.snapshot import NodeSnapshot
from tests.fleet_source import Fleet
from tests.records import record
from tests.unit.test_instruments import FULL, INSTRUMENTS

ALERT = ActiveAlert("silent", "critical", "silent", "n9", "host-9", 300.0, "s", False)


def node(name: str, *, state: NodeState = "ok", age_s: float = 0.0) -> NodeView:
    book = ModelBook()
    for spoken in (record(), record(wall_s=4.0), record(error="engine_crashed")):
        book.add(spoken)
        if spoken.error is None:
            book.used(spoken, 300.0)
    known = NodeSnapshot(
        node=name,
        host=f"host-{name}",
        taken_at=1.0,
        source="nvml",
        samples=(),
        latest=(AgedSample(replace(FULL, uuid=f"GPU-{name}"), 0.1),),
        records=(),
        totals=Totals(),
        loads=(ReplicaLoad("r", f"GPU-{name}", 1, 2, 0.0),),
        problems=(),
        models=book.stats,
        guards=(CardGuard(f"GPU-{name}", "eased", "73 C", 4.0),),
        alerts=(replace(ALERT, rule="card_hot", severity="warning", subject=f"GPU-{name}"),),
        faults=(XidEvent(1.0, f"GPU-{name}", 79, 2),),
        exports=(ExportState("metrics", 12.5, 3), ExportState("traces", dropped=7)),
        channels=(ChannelCount("mail", sent=3, failed=2, failing=True),),
    )
    return NodeView(name, f"host-{name}", state, age_s, known)


def cluster(*nodes: NodeView) -> ClusterSnapshot:
    return ClusterSnapshot(1.0, None, 3.0, nodes)


def parsed(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def by(family: Metric, label: str, name: str | None = None) -> dict[str, float]:
    return {
        s.labels[label]: s.value
        for s in family.samples
        if label in s.labels and s.name == (name or s.name)
    }


def test_prometheus_reads_the_cards_of_every_node() -> None:
    watch_s = ChannelCount("mail", sent=7, waiting=1)
    text = metrics_text(
        cluster(node("a"), node("b")),
        fleet_alerts=[ALERT],
        fleet_channels=[watch_s],
        exports=(ExportState("traces", 99.0),),
    )
    families = parsed(text)
    assert by(families["hw_gpu_utilization_ratio"], "hw_id") == {"GPU-a": 0.25, "GPU-b": 0.25}
    assert by(families["hw_temperature_celsius"], "ray_node_id") == {"a": 70.0, "b": 70.0}
    energy = families["hw_energy_joules"]
    assert (energy.type, by(energy, "host_name")) == (
        "counter",
        {"host-a": 1234.5, "host-b": 1234.5},
    )
    errors = [s for s in families["hw_errors"].samples if s.labels["error_type"] == "xid"]
    assert {(s.labels["vibevoice_gpu_xid"], s.value) for s in errors} == {("79", 2.0)}
    guard = by(families["vibevoice_gpu_guard_state"], "vibevoice_gpu_guard")
    assert guard == {"open": 0, "eased": 1, "paused": 0}
    alerts = by(families["vibevoice_alerts_active"], "vibevoice_alert_subject")
    assert alerts == {"GPU-a": 1, "GPU-b": 1, "n9": 1}
    notices = families["vibevoice_alerts_notices"]
    assert notices.type == "counter"
    sent = [
        (s.labels.get("ray_node_id"), s.value)
        for s in notices.samples
        if s.labels["vibevoice_alert_outcome"] == "sent"
    ]
    assert sent == [("a", 3), ("b", 3), (None, 7)]
    assert sum(s.value for s in families["vibevoice_alerts_notices_waiting"].samples) == 1
    failing = families["vibevoice_telemetry_export_failing_seconds"]
    told = {
        (s.labels.get("ray_node_id"), s.labels["vibevoice_signal"]): s.value
        for s in failing.samples
    }
    assert told == {
        ("a", "metrics"): 12.5,
        ("a", "traces"): 0.0,
        ("b", "metrics"): 12.5,
        ("b", "traces"): 0.0,
        (None, "traces"): 99.0,
    }
    dropped = by(families["vibevoice_telemetry_export_dropped"], "vibevoice_signal")
    assert dropped == {"metrics": 0, "traces": 0}


def test_syntheses_are_histograms_by_node_and_failures_have_causes() -> None:
    families = parsed(metrics_text(cluster(node("a"))))
    rtf = families["vibevoice_tts_real_time_factor"]
    assert rtf.type == "histogram"
    buckets = by(rtf, "le", f"{rtf.name}_bucket")
    assert (buckets["0.2"], buckets["0.3"], buckets["0.75"], buckets["+Inf"]) == (0, 1, 2, 2)
    (total,) = [s.value for s in rtf.samples if s.name.endswith("_sum")]
    assert total == pytest.approx(0.75, rel=0.025)
    (count,) = [s.value for s in rtf.samples if s.name.endswith("_count")]
    assert count == 2
    assert by(families["vibevoice_tts_failures"], "error_type") == {"engine_crashed": 1}
    assert by(families["vibevoice_tts_input_characters"], "gen_ai_request_model") == {"tts-1": 240}
    energy = families["vibevoice_tts_audio_energy_joules_per_min"]
    assert by(energy, "le", f"{energy.name}_bucket")["+Inf"] == 2


def test_requests_are_told_by_outcome() -> None:
    book = RequestBook()
    well = RequestRecord(
        "piper", "tts-1", False, 3.0, 0.4, 9.0, (("split", "bad_audio", 3),), 2, 0.5
    )
    book.add(well)
    book.add(replace(well, error="engine_error", first_audio_s=None, retries=(), underruns=0))
    families = parsed(metrics_text(cluster(), requests=book.stats))
    duration = families["gen_ai_server_request_duration_seconds"]
    counts = [s for s in duration.samples if s.name.endswith("_count")]
    assert {s.labels.get("error_type"): s.value for s in counts} == {None: 1, "engine_error": 1}
    assert by(families["vibevoice_tts_retries"], "vibevoice_retry_kind") == {"split": 3}
    assert by(families["vibevoice_tts_stream_underruns"], "gen_ai_request_model") == {"tts-1": 2}
    (first,) = [
        s.value
        for s in families["vibevoice_tts_time_to_first_audio_seconds"].samples
        if s.name.endswith("_count")
    ]
    assert first == 1


def test_a_stale_node_tells_ages_and_one_that_left_nothing() -> None:
    families = parsed(metrics_text(cluster(node("a", age_s=60.0), node("b", state="dead"))))
    assert by(families["vibevoice_gpu_sample_age_seconds"], "hw_id") == {"GPU-a": 60.1}
    assert "hw_gpu_utilization_ratio" not in families


def test_odd_text_stays_on_its_line() -> None:
    spec = Instrument("vibevoice.x", "1", "A \\ and\na line.", Kind.OBSERVABLE_GAUGE, ("a.b",))
    odd = 'quote " back \\ line\n end'
    (family,) = parsed(
        exposition([Family(spec, [(float("inf"), {"a.b": odd}), (1.5, {})])])
    ).values()
    assert [(s.labels, s.value) for s in family.samples] == [
        ({"a_b": odd}, float("inf")),
        ({}, 1.5),
    ]
    assert exposition([Family(spec)]).strip() == ""


def test_names_are_those_of_opentelemetry_s_own_exporter() -> None:
    before = {name for family in REGISTRY.collect() for name in [family.name]}
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")

    def one(_options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1)

    observable = {
        Kind.OBSERVABLE_COUNTER: meter.create_observable_counter,
        Kind.OBSERVABLE_GAUGE: meter.create_observable_gauge,
        Kind.OBSERVABLE_UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
    }
    for i in INSTRUMENTS:
        if i.kind in observable:
            observable[i.kind](i.name, callbacks=[one], unit=i.unit)
        elif i.kind is Kind.COUNTER:
            meter.create_counter(i.name, unit=i.unit).add(1)
        else:
            meter.create_histogram(i.name, unit=i.unit).record(1)
    theirs = {
        line.split()[2]
        for line in generate_latest(REGISTRY).decode().splitlines()
        if line.startswith("# TYPE")
    } - before
    provider.shutdown()
    # It leaves the ratio's suffix out, which the specification and the collector add.
    ours = {name_of(i).removesuffix("_ratio") for i in INSTRUMENTS}
    theirs = {name.removesuffix("_ratio") for name in theirs}
    assert ours - theirs == set()


class FakeWatch:
    """Answers as the watch does; ``fault`` is raised instead."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault, self.reports = fault, list[IngressReport]()

    async def windows(
        self, uuids: tuple[str, ...], track: str, step_s: int, since: float
    ) -> dict[str, tuple[Window, ...]]:
        if self.fault is not None:
            raise self.fault
        return {uuid: (Window(int(since) + step_s, 1.0, 2.0, 3.0),) for uuid in uuids}

    async def alerts(self) -> tuple[ActiveAlert, ...]:
        if self.fault is not None:
            raise self.fault
        return (ALERT,)

    def heard(self, report: IngressReport) -> None:
        self.reports.append(report)

    async def channels(self) -> tuple[ChannelCount, ...]:
        if self.fault is not None:
            raise self.fault
        return (ChannelCount("wecom", sent=5),)

    async def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        if self.fault is not None:
            raise self.fault
        return f"{hours:g} {language} {as_html}"


@pytest.fixture
def client() -> Callable[[Watch | None], TestClient]:
    def made(watch: Watch | None) -> TestClient:
        fleet = Fleet(1, 1)
        view = ClusterView(fleet, clock=fleet.clock, wall=fleet.clock)
        app = FastAPI()
        problems.install(app)
        app.include_router(router(FleetLink(view, watch)))
        return TestClient(app)

    return made


async def test_an_ingress_tells_the_watch_how_long_its_requests_wait_as_soon_as_there_is_one() -> (
    None
):
    fleet, watch, asked = Fleet(1, 1), FakeWatch(), asyncio.Event()
    link = FleetLink(ClusterView(fleet))

    def waits_s() -> float:
        asked.set()
        return 7.0

    telling = asyncio.create_task(link.report("i-1", "tts", waits_s, period_s=0.0))
    await asyncio.sleep(0)
    assert not asked.is_set()
    link.watch = watch
    await asked.wait()
    telling.cancel()
    assert watch.reports[0] == IngressReport("i-1", "tts", 7.0)


async def test_the_page_of_a_large_fleet_is_made_in_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_in: list[int] = []

    def noting(*args: Any) -> object:
        made_in.append(threading.get_ident())
        return to_json(*args)

    monkeypatch.setattr(fleet_link, "to_json", noting)
    page = await FleetLink(ClusterView(Fleet(1, 1)), FakeWatch()).page(None)
    assert [alert["subject"] for alert in page["alerts"]] == ["n9"]
    assert [card["uuid"] for card in page["cards"]] == ["SIM-n0-0"]
    assert made_in != [threading.get_ident()]
    assert len(made_in) == 1


def test_the_routes_tell_metrics_history_and_report(
    client: Callable[[Watch | None], TestClient],
) -> None:
    web = client(FakeWatch())
    metrics = web.get("/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = parsed(metrics.text)
    assert by(families["hw_temperature_celsius"], "hw_id") == {"SIM-n0-0": 60.0}
    assert by(families["vibevoice_alerts_active"], "vibevoice_alert_subject") == {"n9": 1}
    assert by(families["vibevoice_alerts_notices"], "vibevoice_alert_channel") == {"wecom": 0}
    history = web.get("/get_history?uuid=a&uuid=b&track=power_w&step=60&since=100").json()
    window = {"start": 160, "low": 1.0, "mean": 2.0, "high": 3.0}
    assert history == {
        "track": "power_w",
        "step_s": 60,
        "cards": {"a": [window], "b": [window]},
    }
    page = web.get("/report?hours=12&language=zh")
    assert (page.text, page.headers["content-type"]) == ("12 zh True", "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert web.get("/report?format=md").text == "24 en False"


@pytest.mark.parametrize(
    ("watch", "status", "code"),
    [
        (None, 503, "not_ready"),
        (FakeWatch(TimeoutError()), 503, "not_ready"),
        (FakeWatch(ConnectionError("gone")), 503, "not_ready"),
        (FakeWatch(ValueError("no history of 'x'")), 400, "invalid_request"),
    ],
)
def test_a_watch_that_does_not_answer_is_said_and_metrics_are_told_all_the_same(
    client: Callable[[Watch | None], TestClient], watch: Watch | None, status: int, code: str
) -> None:
    web = client(watch)
    answer = web.get("/get_history?uuid=a&track=x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "hw_temperature_celsius" in web.get("/metrics").text


def test_what_the_page_asks_for_tells_guards_throttling_and_alerts() -> None:
    told = to_json(cluster(node("a")), [ALERT], [ChannelCount("mail", sent=1, dropped=4)])
    body = json.loads(json.dumps(told))
    (card,) = body["cards"]
    assert (card["guard"], card["guard_why"], card["guard_for_s"]) == ("eased", "73 C", 4.0)
    assert (card["throttle"], card["margin_c"], card["mem_temp"]) == (["power_cap"], 26.0, 70.0)
    assert [alert["rule"] for alert in body["alerts"]] == ["silent", "card_hot"]
    assert body["channels"] == [
        {"name": "mail", "sent": 4, "failed": 2, "dropped": 4, "waiting": 0, "failing": True}
    ]

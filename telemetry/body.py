"""The cluster view as plain JSON: the body of ``GET /get_metrics``."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from telemetry.body_entries import (
    AlertEntry,
    CardEntry,
    ChannelEntry,
    GpuEntry,
    InferenceEntry,
    MetricsBody,
    NodeEntry,
    TotalsEntry,
)
from telemetry.card_watch import ActiveAlert, CardGuard
from telemetry.cluster import ClusterSnapshot, NodeView
from telemetry.core.channels import ChannelCount, merge_channels
from telemetry.core.sample import CardSample, SynthesisRecord
from telemetry.core.window import AgedSample, Totals, merge_totals

MIB = 2**20
LAST_SYNTHESES = 20


def to_json(
    snapshot: ClusterSnapshot,
    fleet_alerts: Iterable[ActiveAlert] = (),
    fleet_channels: Iterable[ChannelCount] = (),
) -> MetricsBody:
    """The body of ``GET /get_metrics``: every value is JSON as it is.

    Args:
        snapshot: What the nodes know.
        fleet_alerts: Alerts that no single node has.
        fleet_channels: What became of the messages about those.
    """
    views = [view for view in snapshot.nodes if view.snapshot is not None]
    cards = [card for view in views for card in _cards(view, snapshot.stale_after_s)]
    records = [record for view in views if view.snapshot for record in view.snapshot.records]
    newest = heapq.nlargest(LAST_SYNTHESES, records, key=lambda record: record.timestamp)
    totals = merge_totals(view.snapshot.totals for view in views if view.snapshot)
    return {
        "timestamp": snapshot.taken_at,
        "gpu": _samples(views, snapshot),
        "cards": cards,
        "inference": [_inference(record) for record in reversed(newest)],
        "totals": _totals(totals, cards),
        "nodes": [_node(view) for view in snapshot.nodes],
        "problems": [snapshot.problem] if snapshot.problem else [],
        "alerts": _alerts(views, fleet_alerts),
        "channels": _channels(views, fleet_channels),
    }


def _channels(views: list[NodeView], fleet_channels: Iterable[ChannelCount]) -> list[ChannelEntry]:
    told = [*fleet_channels]
    for view in views:
        if view.snapshot is not None and view.state != "dead":
            told += view.snapshot.channels
    return [
        {
            "name": one.name,
            "sent": one.sent,
            "failed": one.failed,
            "dropped": one.dropped,
            "waiting": one.waiting,
            "failing": one.failing,
        }
        for one in merge_channels(told)
    ]


def _alerts(views: list[NodeView], fleet_alerts: Iterable[ActiveAlert]) -> list[AlertEntry]:
    found = [*fleet_alerts]
    for view in views:
        if view.snapshot is not None and view.state != "dead":
            found += view.snapshot.alerts
    found.sort(key=lambda alert: (alert.severity != "critical", alert.rule, alert.label))
    return [
        {
            "rule": alert.rule,
            "severity": alert.severity,
            "title": alert.title,
            "subject": alert.subject,
            "label": alert.label,
            "value": alert.value,
            "unit": alert.unit,
            "simulated": alert.simulated,
        }
        for alert in found
    ]


def _samples(views: list[NodeView], snapshot: ClusterSnapshot) -> list[GpuEntry]:
    """Every sample later than asked for; an old answer may hold more than that."""
    since = snapshot.since
    entries = [
        _gpu(sample, view.id)
        for view in views
        if view.snapshot is not None
        for sample in view.snapshot.samples
        if since is None or sample.timestamp > since
    ]
    entries.sort(key=lambda entry: (entry["timestamp"], entry["node"], entry["index"]))
    return entries


def _gpu(sample: CardSample, node: str) -> GpuEntry:
    return {
        "timestamp": sample.timestamp,
        "node": node,
        "index": sample.index,
        "uuid": sample.uuid,
        "name": sample.name,
        "gpu_util": sample.gpu_util,
        "mem_used": _mib(sample.mem_used_bytes),
        "mem_total": _mib(sample.mem_total_bytes),
        "temp": sample.temp_c,
        "power_w": sample.power_w,
        "power_limit_w": sample.power_limit_w,
        "sm_clock_mhz": sample.sm_clock_mhz,
        "mem_clock_mhz": sample.mem_clock_mhz,
        "simulated": sample.simulated,
        "error": sample.error,
    }


def _mib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / MIB


def _cards(view: NodeView, stale_after_s: float) -> list[CardEntry]:
    assert view.snapshot is not None
    busy: dict[str, int] = {}
    slots: dict[str, int] = {}
    for load in view.snapshot.loads:
        if load.card_uuid is not None:
            busy[load.card_uuid] = busy.get(load.card_uuid, 0) + load.busy
            slots[load.card_uuid] = slots.get(load.card_uuid, 0) + load.slots
    guards = {guard.uuid: guard for guard in view.snapshot.guards}
    return [
        _card(
            aged,
            view,
            guards.get(aged.sample.uuid),
            stale=_is_stale(aged, view, stale_after_s),
            busy=busy.get(aged.sample.uuid, 0),
            slots=slots.get(aged.sample.uuid, 0),
        )
        for aged in view.cards
    ]


def _card(
    aged: AgedSample, view: NodeView, guard: CardGuard | None, *, stale: bool, busy: int, slots: int
) -> CardEntry:
    sample = aged.sample
    return {
        **_gpu(sample, view.id),
        "host": view.host,
        "age_s": aged.age_s,
        "stale": stale,
        "busy": busy,
        "slots": slots,
        "throttle": None if sample.throttle is None else list(sample.throttle),
        "margin_c": sample.margin_c,
        "mem_temp": sample.mem_temp_c,
        "energy_j": sample.energy_j,
        "guard": None if guard is None else guard.state,
        "guard_why": None if guard is None else guard.why,
        "guard_for_s": None if guard is None else guard.for_s,
        "processes": None
        if sample.processes is None
        else [{"pid": one.pid, "mem_used": _mib(one.mem_bytes)} for one in sample.processes],
    }


def _is_stale(aged: AgedSample, view: NodeView, stale_after_s: float) -> bool:
    return view.state == "dead" or aged.age_s > stale_after_s


def _inference(record: SynthesisRecord) -> InferenceEntry:
    return {
        "timestamp": record.timestamp,
        "input_tokens": record.input_tokens,
        "input_characters": record.input_characters,
        "output_tokens": record.output_tokens,
        "output_duration": record.audio_s,
        "inference_time": record.wall_s,
        "throughput_rt": record.throughput_rt,
        "tokens_per_s": record.tokens_per_s,
        "rtf": record.real_time_factor,
        "queue_s": record.queue_s,
        "first_audio_s": record.first_audio_s,
        "node": record.node,
        "replica": record.replica,
        "card_uuid": record.card_uuid,
        "engine": record.engine,
        "model": record.model,
        "simulated": record.simulated,
        "trace_id": record.trace_id,
        "error": record.error,
    }


def _totals(totals: Totals, cards: list[CardEntry]) -> TotalsEntry:
    return {
        "segments": totals.count,
        "failures": totals.failures,
        "simulated": totals.simulated,
        "input_characters": totals.input_characters,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "audio_s": totals.audio_s,
        "wall_s": totals.wall_s,
        "elapsed_s": totals.elapsed_s,
        "rtf": totals.real_time_factor,
        "throughput_rt": totals.throughput_rt,
        "cards": len(cards),
        "simulated_cards": sum(card["simulated"] for card in cards),
    }


def _node(view: NodeView) -> NodeEntry:
    known = view.snapshot
    problems = list(known.problems) if known is not None else []
    return {
        "id": view.id,
        "host": view.host,
        "state": view.state,
        "age_s": view.age_s,
        "card_source": known.source if known is not None else None,
        "problems": [*problems, *filter(None, [view.problem])],
    }

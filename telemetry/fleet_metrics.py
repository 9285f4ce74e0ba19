"""The cluster view as metrics: what ``GET /metrics`` tells Prometheus.

The same table that the nodes export by (:mod:`telemetry.readings`) read from their snapshots, with
the node as a label. Syntheses are told by node too, so that one that restarts resets its own
counters only. A node that left tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from telemetry import instruments as i
from telemetry.card_watch import ActiveAlert, CardGuard
from telemetry.cluster import ClusterSnapshot, NodeView
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import Exports
from telemetry.core.model_book import ModelStats, Sketch
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.request_book import RequestStats
from telemetry.core.sample import XidEvent
from telemetry.core.window import AgedSample
from telemetry.instrument import Instrument
from telemetry.prometheus import Distribution, Family, exposition
from telemetry.readings import (
    EXPORT_POINTS,
    READ,
    Attributes,
    Point,
    alert_points,
    notice_points,
    waiting_points,
)
from telemetry.snapshot import NodeSnapshot
from telemetry.spans import OPERATION

_MODEL_SKETCHES: Final[tuple[tuple[Instrument, str], ...]] = (
    (i.SEGMENT_DURATION, "duration_s"),
    (i.SEGMENT_FIRST_AUDIO, "first_audio_s"),
    (i.REAL_TIME_FACTOR, "real_time_factor"),
    (i.AUDIO_DURATION, "segment_audio_s"),
    (i.QUEUE_TIME, "queue_s"),
    (i.AUDIO_ENERGY, "energy_j_per_min"),
)
_MODEL_TOTALS: Final[tuple[tuple[Instrument, str], ...]] = (
    (i.INPUT_CHARACTERS, "input_characters"),
    (i.INPUT_TOKENS, "input_tokens"),
    (i.OUTPUT_TOKENS, "output_tokens"),
)


def metrics_text(
    snapshot: ClusterSnapshot,
    *,
    requests: Iterable[RequestStats] = (),
    fleet_alerts: Iterable[ActiveAlert] = (),
    fleet_channels: Iterable[ChannelCount] = (),
    exports: Exports = (),
) -> str:
    """The cluster in Prometheus' text format; takes a while for a large one, call it in a thread.

    Args:
        snapshot: What the nodes know.
        requests: What this ingress answered.
        fleet_alerts: Alerts that no single node has.
        fleet_channels: What became of the messages about those.
        exports: How this ingress' own exports go.
    """
    nodes = [
        _Node(view, view.snapshot, snapshot.stale_after_s)
        for view in snapshot.nodes
        if view.snapshot is not None
    ]
    fleet: dict[Instrument, Iterable[Point]] = {
        i.ALERTS: alert_points(fleet_alerts),
        i.NOTICES: notice_points(channels := tuple(fleet_channels)),
        i.NOTICES_WAITING: waiting_points(channels),
    }
    alive = [node for node in nodes if node.view.state != "dead"]
    families = [
        *_node_families(alive, fleet),
        *_export_families(alive, exports),
        *_model_families(alive),
        *_request_families(tuple(requests)),
    ]
    return exposition(families)


@dataclass(frozen=True, slots=True)
class _Node:
    """A node's snapshot as :class:`~telemetry.readings.NodeReadings`."""

    view: NodeView
    known: NodeSnapshot
    stale_after_s: float

    @property
    def labels(self) -> Attributes:
        return {"host.name": self.view.host, "ray.node_id": self.view.id}

    def latest(self) -> tuple[AgedSample, ...]:
        return self.view.cards

    def loads(self) -> tuple[ReplicaLoad, ...]:
        return self.known.loads

    def guards(self) -> tuple[CardGuard, ...]:
        return self.known.guards

    def alerts(self) -> tuple[ActiveAlert, ...]:
        return self.known.alerts

    def faults(self) -> tuple[XidEvent, ...]:
        return self.known.faults

    def channels(self) -> tuple[ChannelCount, ...]:
        return self.known.channels


def _node_families(
    nodes: list[_Node], fleet: Mapping[Instrument, Iterable[Point]]
) -> Iterator[Family]:
    """What each node tells, and what the fleet's watch adds to it."""
    for instrument, read in READ.items():
        points: list[Point] = [
            (value, {**attributes, **node.labels})
            for node in nodes
            for value, attributes in read(node)
        ]
        yield Family(instrument, [*points, *fleet.get(instrument, ())])


def _export_families(nodes: list[_Node], exports: Exports) -> Iterator[Family]:
    """What each node's processes could not export, and this ingress, which names no node."""
    for instrument, read in EXPORT_POINTS.items():
        points = [
            (value, {**attributes, **node.labels})
            for node in nodes
            for value, attributes in read(node.known.exports)
        ]
        yield Family(instrument, [*points, *read(exports)])


def _model_families(nodes: list[_Node]) -> Iterator[Family]:
    models = [
        (model, {**_speech(model.engine, model.model, model.simulated), **node.labels})
        for node in nodes
        for model in node.known.models
    ]
    for instrument, name in _MODEL_SKETCHES:
        found = [(getattr(model, name), told) for model, told in models]
        yield Family(instrument, distributions=_distributions(instrument, found))
    for instrument, name in _MODEL_TOTALS:
        yield Family(instrument, [(getattr(model, name), told) for model, told in models])
    yield Family(i.FAILURES, [point for model, told in models for point in _failed(model, told)])


def _failed(model: ModelStats, told: Attributes) -> Iterator[Point]:
    for cause, count in model.failures:
        yield count, {**told, "error.type": cause}


def _request_families(requests: tuple[RequestStats, ...]) -> Iterator[Family]:
    told = [(one, _speech(one.engine, one.model, one.simulated)) for one in requests]
    durations = [
        (sketch, {**names, **({"error.type": error} if error else {})})
        for one, names in told
        for error, sketch in one.duration_s
    ]
    for instrument, found in (
        (i.REQUEST_DURATION, durations),
        (i.FIRST_AUDIO, [(one.first_audio_s, names) for one, names in told]),
        (i.STREAM_AUDIO, [(one.audio_s, names) for one, names in told]),
    ):
        yield Family(instrument, distributions=_distributions(instrument, found))
    retries: list[Point] = [
        (count, {**names, "vibevoice.retry.kind": kind, "error.type": cause})
        for one, names in told
        for kind, cause, count in one.retries
    ]
    yield Family(i.RETRIES, retries)
    yield Family(i.UNDERRUNS, [(one.underruns, names) for one, names in told])
    yield Family(i.UNDERRUN_TIME, [(one.underrun_s, names) for one, names in told])


def _distributions(
    instrument: Instrument, found: Iterable[tuple[Sketch, Attributes]]
) -> list[Distribution]:
    return [
        Distribution(
            attributes,
            [sketch.at_most(bound) for bound in instrument.buckets],
            sketch.count,
            sketch.total,
        )
        for sketch, attributes in found
        if sketch.count
    ]


def _speech(engine: str, model: str, simulated: bool) -> Mapping[str, str | bool]:
    return {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": engine,
        "gen_ai.request.model": model,
        "vibevoice.simulated": simulated,
    }

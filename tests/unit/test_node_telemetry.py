"""One node's sampler, records and loads, without Ray."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.reader import CardReader, NoCards, Reading, UnknownCardError
from telemetry.core.sample import CardSample, XidEvent
from telemetry.node import (
    MAX_REPLICAS,
    REPORT_EXPIRY_S,
    NodeTelemetry,
    TelemetryConfig,
    make_reader,
)
from telemetry.nvml import NvmlCards
from telemetry.simulated import SimulatedCards
from tests.records import record
from tests.unit.scripted_cards import ScriptedCards


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


CARD = CardSample(1.0, 0, "GPU-0", "card", simulated=False, temp_c=41.0)


def one_card() -> Reading:
    return Reading((CARD,))


def node(reader: CardReader, clock: Clock) -> NodeTelemetry:
    return NodeTelemetry("n1", "host", reader, clock=clock, wall=lambda: 1e9 + clock.now)


def simulated(count: int, clock: Clock) -> tuple[NodeTelemetry, SimulatedCards]:
    reader = SimulatedCards(count, node="n1", clock=clock, wall=clock)
    return node(reader, clock), reader


def test_a_snapshot_tells_all_and_crosses_process_borders() -> None:
    clock = Clock()
    telemetry = node(ScriptedCards(card=one_card), clock)
    telemetry.tick()
    telemetry.record(record())
    telemetry.load("r", "GPU-0", 1, 2)
    clock.now += 5.0
    snapshot = telemetry.snapshot()
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert (snapshot.node, snapshot.host, snapshot.source) == ("n1", "host", "nvml")
    assert snapshot.samples == (CARD,)
    assert [(aged.sample.uuid, aged.age_s) for aged in snapshot.latest] == [("GPU-0", 5.0)]
    assert snapshot.totals.audio_s == 8.0
    assert [(load.replica, load.busy, load.age_s) for load in snapshot.loads] == [("r", 1, 5.0)]
    assert snapshot.problems == ("card 1: warm",)
    assert telemetry.snapshot(since=1.0).samples == ()


def test_faults_are_counted_and_leave_after_an_hour() -> None:
    clock = Clock()
    seen = [XidEvent(1.0, "GPU-0", 48), XidEvent(2.0, "GPU-0", 48), XidEvent(2.0, "GPU-0", 13)]
    telemetry = node(ScriptedCards(faults=lambda: Reading(xids=tuple(seen))), clock)
    telemetry.tick()
    seen.clear()
    telemetry.tick()
    told = (XidEvent(2.0, "GPU-0", 48, 2), XidEvent(2.0, "GPU-0", 13))
    assert telemetry.snapshot().xids == told
    assert pickle.loads(pickle.dumps(telemetry.snapshot())).xids == told
    clock.now += 3_601
    assert telemetry.snapshot().xids == ()


def test_a_slow_reading_is_as_old_as_it_took() -> None:
    clock = Clock()

    def slow() -> Reading:
        clock.now += 20.0
        return one_card()

    telemetry = node(ScriptedCards(card=slow), clock)
    telemetry.tick()
    assert telemetry.latest()[0].age_s == 20.0


def test_load_warms_the_card_it_is_on_and_expires() -> None:
    clock = Clock()
    telemetry, reader = simulated(2, clock)
    first, second = reader.uuids
    telemetry.load("a", first, 1, 2)
    telemetry.load("b", first, 2, 2)
    telemetry.load("c", None, 2, 2)
    assert [s.gpu_util for s in reader.read()] == [75.0, 0.0]
    telemetry.load("b", first, 0, 0)
    assert [s.gpu_util for s in reader.read()] == [50.0, 0.0]
    clock.now += REPORT_EXPIRY_S + 1
    telemetry.load("d", second, 1, 1)
    assert [s.gpu_util for s in reader.read()] == [0.0, 100.0]
    assert [load.replica for load in telemetry.loads()] == ["d"]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 4))
def test_replicas_spread_evenly_and_keep_their_card(asking: list[int], count: int) -> None:
    telemetry, _ = simulated(count, Clock())
    given_to: dict[int, str] = {}
    for replica in asking:
        uuid = telemetry.assign_simulated(f"r{replica}")
        assert given_to.setdefault(replica, uuid) == uuid
    used = [list(given_to.values()).count(uuid) for uuid in set(given_to.values())]
    assert max(used) - min(used) <= 1
    assert len(used) == min(count, len(given_to))


def test_the_successor_of_a_dead_replica_gets_its_card() -> None:
    clock = Clock()
    telemetry, reader = simulated(2, clock)
    assert telemetry.assign_simulated("a") == reader.uuids[0]
    assert telemetry.assign_simulated("b") == reader.uuids[1]
    clock.now += 1
    telemetry.load("a", reader.uuids[0], 1, 1)  # b is dead and silent
    assert telemetry.assign_simulated("b2") == reader.uuids[1]


def test_real_cards_are_not_given_away() -> None:
    with pytest.raises(UnknownCardError, match="no simulated cards"):
        node(NoCards(), Clock()).assign_simulated("a")


def test_what_replicas_say_is_bounded() -> None:
    telemetry = node(NoCards(), Clock())
    for index in range(MAX_REPLICAS + 5):
        telemetry.load(f"r{index}", None, 1, 1)
    names = {load.replica for load in telemetry.loads()}
    assert len(names) == MAX_REPLICAS
    assert "r4" not in names
    assert "r5" in names


def test_a_config_chooses_the_reader() -> None:
    assert isinstance(make_reader(TelemetryConfig("none"), "n"), NoCards)
    assert isinstance(make_reader(TelemetryConfig("nvml"), "n"), NvmlCards)
    chosen = make_reader(TelemetryConfig("simulated", simulated_cards=3), "n")
    (lane,) = chosen.lanes()
    assert len(lane.read().samples) == 3

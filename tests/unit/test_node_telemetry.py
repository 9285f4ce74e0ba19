"""One node's sampler, records and loads, without Ray."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.card_watch import CardWatch
from telemetry.core.alerts import AlertRule
from telemetry.core.messages import Message
from telemetry.core.reader import CardReader, NoCards, Reading, UnknownCardError
from telemetry.core.replica_reports import MAX_REPLICAS, REPORT_EXPIRY_S
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.thermal import ThermalRules
from telemetry.node import NodeTelemetry, make_reader
from telemetry.nvml import NvmlCards
from telemetry.simulated import SimulatedCards
from telemetry.watch_config import TelemetryConfig, changes
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


def test_a_busy_node_counts_more_failures_than_it_keeps_in_full() -> None:
    clock = Clock()
    telemetry = node(NoCards(), clock)
    for _ in range(50):
        telemetry.record(record(error="engine_crashed"))
    for _ in range(50):
        telemetry.record(record())
    (recent,) = telemetry.snapshot().recent
    assert (recent.attempts, recent.failed) == (100, 50)
    clock.now += 400.0
    assert telemetry.snapshot().recent == ()


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


def test_faults_are_counted_and_leave_after_ten_minutes_though_they_come_again() -> None:
    clock = Clock()
    seen = [XidEvent(1.0, "GPU-0", 48), XidEvent(2.0, "GPU-0", 48), XidEvent(2.0, "GPU-0", 13)]
    telemetry = node(ScriptedCards(faults=lambda: Reading(xids=tuple(seen))), clock)
    telemetry.tick()
    seen.clear()
    telemetry.tick()
    told = (XidEvent(2.0, "GPU-0", 48, 2), XidEvent(2.0, "GPU-0", 13))
    assert telemetry.snapshot().xids == told
    assert pickle.loads(pickle.dumps(telemetry.snapshot())).xids == told
    clock.now += 400
    again = XidEvent(402.0, "GPU-0", 48)
    seen.append(again)
    telemetry.tick()
    seen.clear()
    clock.now += 400
    assert telemetry.snapshot().xids == (again,)
    assert {fault.xid: fault.count for fault in telemetry.faults()} == {48: 3, 13: 1}


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


WARM = AlertRule("warm", "warning", "temp_c", 20.0, 0.0, 10.0, 0.0, "C", "t", "t", "a", "a")
CONFIG = TelemetryConfig("simulated", simulated_cards=2, period_s=0.02, alerts=(WARM,))


@contextmanager
def running(posted: list[Message]) -> Iterator[NodeTelemetry]:
    """A node that samples by itself, with both its cards above the rule's limit."""
    watch = CardWatch("host", thermal=CONFIG.thermal, alerts=CONFIG.alerts)
    telemetry = NodeTelemetry(
        "n1",
        "host",
        make_reader(CONFIG, "n1"),
        period_s=CONFIG.period_s,
        watch=watch,
        post=posted.append,
    )
    telemetry.start()
    try:
        until(lambda: all(f"SIM-n1-{n}" in "".join(m.body for m in posted) for n in (0, 1)))
        yield telemetry
    finally:
        telemetry.close()


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2_000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("the condition never held")


@pytest.mark.parametrize(
    "other",
    [
        {"language": "zh"},
        {"stale_after_s": 9.0, "alerts": (replace(WARM, fire_above=21.0),)},
        {"period_s": 0.03},
        {"simulated_cards": 4},
        {"thermal": ThermalRules(scale="margin"), "slow_period_s": 60.0},
    ],
)
def test_another_config_loses_no_count_and_tells_nobody_again(other: dict[str, Any]) -> None:
    posted: list[Message] = []
    with running(posted) as telemetry:
        telemetry.record(record(card_uuid="SIM-n1-0"))
        telemetry.load("r", "SIM-n1-0", 1, 2)
        before, told = telemetry.snapshot(), len(posted)
        config = replace(CONFIG, **other)
        telemetry.adopt(config, changes(CONFIG, config))
        after = telemetry.snapshot()
        assert (after.totals, after.models) == (before.totals, before.models)
        assert [load.replica for load in after.loads] == ["r"]
        assert {alert.subject for alert in after.alerts} >= {"SIM-n1-0", "SIM-n1-1"}
        assert telemetry.stale_after_s == config.stale_after_s
        newest = after.latest[0].sample.timestamp
        until(lambda: telemetry.latest()[0].sample.timestamp > newest)
        until(lambda: len(telemetry.alerts()) == config.simulated_cards)
        energy = {aged.sample.uuid: aged.sample.energy_j or 0.0 for aged in telemetry.latest()}
        assert all(energy[a.sample.uuid] >= (a.sample.energy_j or 0.0) for a in before.latest)
        # Cards that were not there before are told; those that were are not told again.
        more = 1 if config.simulated_cards > 2 else 0
        until(lambda: len(posted) >= told + more)
        assert len(posted) == told + more


def test_cards_that_are_no_longer_watched_are_forgotten() -> None:
    with running([]) as telemetry:
        fewer = replace(CONFIG, simulated_cards=1)
        telemetry.adopt(fewer, changes(CONFIG, fewer))
        assert {alert.subject for alert in telemetry.alerts()} == {"SIM-n1-0"}
        assert [aged.sample.uuid for aged in telemetry.latest()] == ["SIM-n1-0"]
        none = replace(CONFIG, cards="none")
        telemetry.adopt(none, changes(fewer, none))
        assert (telemetry.alerts(), telemetry.guards(), telemetry.latest()) == ((), (), ())
        assert telemetry.snapshot().source == "none"


def test_faults_go_on_being_counted_by_another_config() -> None:
    fault = XidEvent(1.0, "GPU-0", 48)
    telemetry = node(ScriptedCards(faults=lambda: Reading(xids=(fault,))), Clock())
    telemetry.tick()
    other = TelemetryConfig("nvml", language="zh")
    telemetry.adopt(other, ("language",))
    telemetry.tick()
    telemetry.close()
    assert telemetry.faults() == (replace(fault, count=2),)


def test_what_a_hanging_reader_tells_after_its_time_is_left_out() -> None:
    late, hanging, go_on = Reading((replace(CARD, uuid="GPU-old"),)), Event(), Event()

    def hangs() -> Reading:
        hanging.set()
        go_on.wait(10)
        return late

    telemetry = node(ScriptedCards(card=hangs), Clock())
    reading = threading.Thread(target=telemetry.tick)
    reading.start()
    hanging.wait(10)
    telemetry.adopt(TelemetryConfig("none"), ("cards",))
    go_on.set()
    reading.join(10)
    telemetry.close()
    assert telemetry.latest() == ()

"""One node's sampler, records and loads, without Ray."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.reader import CardReader, CardSource, NoCards, UnknownCardError
from telemetry.core.sample import CardSample
from telemetry.node import (
    MAX_REPLICAS,
    REPORT_EXPIRY_S,
    NodeTelemetry,
    TelemetryConfig,
    make_reader,
    next_deadline,
)
from telemetry.nvml import NvmlCards
from telemetry.simulated import SimulatedCards
from tests.records import record


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class ScriptedCards:
    """A reader whose readings are functions, and which tells when it was asked."""

    source: CardSource = "nvml"

    def __init__(self, readings: Callable[[], tuple[CardSample, ...]]) -> None:
        self._readings = readings
        self.closed = threading.Event()
        self.threads: set[int] = set()
        self.reads = threading.Semaphore(0)

    def read(self) -> tuple[CardSample, ...]:
        self.threads.add(threading.get_ident())
        self.reads.release()
        return self._readings()

    def problems(self) -> tuple[str, ...]:
        return ("card 1: warm",)

    def close(self) -> None:
        self.closed.set()


def one_card() -> tuple[CardSample, ...]:
    return (CardSample(1.0, 0, "GPU-0", "card", simulated=False, temp_c=41.0),)


def node(reader: CardReader, clock: Clock | None = None, period_s: float = 0.01) -> NodeTelemetry:
    if clock is None:
        return NodeTelemetry("n1", "host", reader, period_s=period_s)
    return NodeTelemetry("n1", "host", reader, clock=clock, wall=lambda: 1e9 + clock.now)


def simulated(count: int, clock: Clock) -> tuple[NodeTelemetry, SimulatedCards]:
    reader = SimulatedCards(count, node="n1", clock=clock, wall=clock)
    return node(reader, clock), reader


def test_a_snapshot_tells_all_and_crosses_process_borders() -> None:
    clock = Clock()
    telemetry = node(ScriptedCards(one_card), clock)
    telemetry.tick()
    telemetry.record(record())
    telemetry.load("r", "GPU-0", 1, 2)
    clock.now += 5.0
    snapshot = telemetry.snapshot()
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert (snapshot.node, snapshot.host, snapshot.source) == ("n1", "host", "nvml")
    assert snapshot.samples == one_card()
    assert [(aged.sample.uuid, aged.age_s) for aged in snapshot.latest] == [("GPU-0", 5.0)]
    assert snapshot.totals.audio_s == 8.0
    assert [(load.replica, load.busy, load.age_s) for load in snapshot.loads] == [("r", 1, 5.0)]
    assert snapshot.problems == ("card 1: warm",)
    assert telemetry.snapshot(since=1.0).samples == ()


def test_a_failing_reader_is_told_and_survived() -> None:
    fail = True

    def readings() -> tuple[CardSample, ...]:
        if fail:
            raise RuntimeError("the bus is on fire")
        return one_card()

    telemetry = node(ScriptedCards(readings), Clock())
    telemetry.tick()
    assert "sampler: RuntimeError: the bus is on fire" in telemetry.snapshot().problems
    fail = False
    telemetry.tick()
    assert telemetry.snapshot().problems == ("card 1: warm",)
    assert len(telemetry.latest()) == 1


def test_one_thread_samples_again_and_again_and_closes_the_reader() -> None:
    reader = ScriptedCards(one_card)
    telemetry = node(reader)
    telemetry.start()
    for _ in range(5):
        assert reader.reads.acquire(timeout=10)
    assert telemetry.close(timeout_s=10)
    assert telemetry.close(timeout_s=10)
    assert reader.closed.is_set()
    assert len(reader.threads) == 1
    assert threading.get_ident() not in reader.threads


def test_a_hanging_driver_stops_neither_snapshots_nor_close_and_gets_no_second_thread() -> None:
    hang, inside, released = threading.Event(), threading.Event(), threading.Event()

    def readings() -> tuple[CardSample, ...]:
        if hang.is_set():
            inside.set()
            assert released.wait(60)
        return one_card()

    reader = ScriptedCards(readings)
    telemetry = node(reader)
    telemetry.start()
    assert reader.reads.acquire(timeout=10)
    hang.set()
    assert inside.wait(10)
    before = telemetry.latest()[0].age_s
    assert telemetry.latest()[0].age_s > before
    assert telemetry.snapshot().latest[0].sample.temp_c == 41.0
    assert not telemetry.close(timeout_s=0.05)
    assert not reader.closed.is_set()
    released.set()
    assert telemetry.close(timeout_s=10)
    assert reader.closed.is_set()
    assert len(reader.threads) == 1


def test_a_slow_reading_is_as_old_as_it_took() -> None:
    clock = Clock()

    def readings() -> tuple[CardSample, ...]:
        clock.now += 20.0
        return one_card()

    telemetry = node(ScriptedCards(readings), clock)
    telemetry.tick()
    assert telemetry.latest()[0].age_s == 20.0


def test_closing_before_the_start_closes_the_reader() -> None:
    reader = ScriptedCards(one_card)
    assert node(reader).close()
    assert reader.closed.is_set()


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


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0.01, 100))
def test_the_next_tick_is_the_first_on_the_grid_after_now(
    deadline: float, late_s: float, period_s: float
) -> None:
    now = deadline + late_s
    following = next_deadline(deadline, now, period_s)
    tolerance = 1e-9 * max(now, 1) + 1e-9
    assert now - tolerance <= following <= now + period_s + tolerance
    ticks = (following - deadline) / period_s
    assert ticks == pytest.approx(round(ticks), abs=1e-4)


def test_a_config_chooses_the_reader() -> None:
    assert isinstance(make_reader(TelemetryConfig("none"), "n"), NoCards)
    assert isinstance(make_reader(TelemetryConfig("nvml"), "n"), NvmlCards)
    chosen = make_reader(TelemetryConfig("simulated", simulated_cards=3), "n")
    assert len(chosen.read()) == 3

"""The sampler's threads over the stand-in driver: calls that hang, faults, a dead collector.

All that is told comes from the samples' own times; the tests wait for states, not for seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.driver.build import LOST, StubCard, cards, write_state
from tests.driver.nvml_child import NvmlChild
from tests.otlp import BlackHole

Start = Callable[..., NvmlChild]

PERIOD_S = 0.02
CARDS = 8
STALE_S = 1.0
LATEST_S = 1.5


def wait_until(ask: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Ask a child until it says yes; each question is a round trip of its own."""
    end = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < end, "the child did not get there in time"


def running(start: Start, state: Path, fleet: list[StubCard]) -> NvmlChild:
    """A child that has sampled every card."""
    write_state(state, fleet)
    child = start()
    child("start_node", PERIOD_S)
    wait_until(lambda: len(child("node")["ages"]) == len(fleet))
    return child


@pytest.mark.parametrize(
    "function",
    ["all", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetComputeRunningProcesses_v3"],
)
def test_a_hanging_card_grows_old_alone_with_one_thread_until_it_answers(
    start: Start, state: Path, function: str
) -> None:
    good = cards(CARDS)
    child = running(start, state, good)
    bad = replace(good[3], hang=(function,), temp=90)
    hot = [replace(card, temp=90) for card in good]
    # The slow tier has been read: its call hangs when the card is looked up again.
    write_state(state, [*good[:3], replace(good[3], lost=LOST), *good[4:]])
    wait_until(lambda: any("lost" in problem for problem in child("node")["problems"]))
    write_state(state, [*hot[:3], bad, *hot[4:]])

    def alone() -> bool:
        ages: dict[str, float] = child("node")["ages"]
        return ages.pop(bad.uuid) > STALE_S > 2 * max(ages.values())

    wait_until(alone)
    temps = child("node")["temps"]
    assert temps.pop(bad.uuid) != 90.0
    assert set(temps.values()) == {90.0}
    wait_until(lambda: child("node")["threads"] == ["card-reader", "card-reader", "card-sampler"])
    write_state(state, hot)
    wait_until(lambda: child("node")["temps"][bad.uuid] == 90.0)
    wait_until(lambda: child("node")["threads"] == ["card-reader", "card-sampler"])
    assert child("node")["problems"] == []
    assert child("close_node", 10.0) is True
    assert child("node")["threads"] == []


def test_cards_that_hang_from_the_start_hold_up_no_other(start: Start, state: Path) -> None:
    good = cards(CARDS)
    fleet = [*good[:6], *(replace(card, hang=("nvmlDeviceGetUUID",)) for card in good[6:])]
    write_state(state, fleet)
    child = start()
    child("start_node", PERIOD_S)
    wait_until(lambda: len(child("node")["ages"]) == 6)
    wait_until(lambda: len(child("node")["threads"]) == 4)
    first = child("node")["times"]
    wait_until(lambda: all(child("node")["times"][uuid][-1] > first[uuid][-1] for uuid in first))
    write_state(state, good)
    wait_until(lambda: len(child("node")["ages"]) == CARDS)


def test_a_driver_that_holds_its_lock_stops_all_and_takes_no_more_threads_than_cards(
    start: Start, state: Path
) -> None:
    good = cards(3)
    child = running(start, state, good)
    write_state(state, [replace(good[0], hang=("all",)), *good[1:]], serial=True)
    wait_until(lambda: min(child("node")["ages"].values()) > STALE_S)
    # A reader for each card and one for the faults, all of them waiting for the same lock.
    wait_until(lambda: child("node")["threads"].count("card-reader") == 4)
    oldest = child("node")["ages"][good[0].uuid]
    wait_until(lambda: child("node")["ages"][good[0].uuid] > oldest + 10 * PERIOD_S)
    assert child("node")["threads"].count("card-reader") == 4
    write_state(state, good)
    wait_until(lambda: max(child("node")["ages"].values()) < STALE_S)
    wait_until(lambda: child("node")["threads"] == ["card-reader", "card-sampler"])


def test_a_hanging_card_does_not_hold_up_the_end(start: Start, state: Path) -> None:
    hanging = replace(cards(1)[0], hang=("all",))
    write_state(state, [hanging])
    child = start()
    child("start_node", PERIOD_S)
    wait_until(lambda: child("node")["threads"] == ["card-reader", "card-sampler"])
    assert child("close_node", 0.05) is False
    write_state(state, [replace(hanging, hang=())])
    assert child("close_node", 10.0) is True
    assert child("node")["threads"] == []


def test_a_fault_is_told_while_its_card_hangs_and_repeats_are_counted(
    start: Start, state: Path
) -> None:
    good, bad = cards(2)
    child = running(start, state, [good, bad])
    hanging = replace(bad, hang=("nvmlDeviceGetPowerUsage",), xids=(119,))
    write_state(state, [good, hanging])
    wait_until(lambda: child("node")["xids"] == [[bad.uuid, 119, 1]])
    write_state(state, [good, replace(hanging, xids=(119, 119, 119))])
    wait_until(lambda: child("node")["xids"] == [[bad.uuid, 119, 3]])


def test_listening_for_faults_may_hang_as_well(start: Start, state: Path) -> None:
    good, bad = cards(2)
    child = running(start, state, [good, bad])
    write_state(state, [replace(good, temp=90), replace(bad, hang=("nvmlEventSetWait_v2",))])
    wait_until(lambda: child("node")["threads"].count("card-reader") == 2)
    wait_until(lambda: child("node")["temps"][good.uuid] == 90.0)
    write_state(state, [replace(good, temp=91), replace(bad, temp=91, xids=(48,))])
    wait_until(lambda: set(child("node")["temps"].values()) == {91.0})
    wait_until(lambda: child("node")["xids"] == [[bad.uuid, 48, 1]])


def test_a_driver_reloaded_under_the_threads_is_found_again(start: Start, state: Path) -> None:
    good = cards(2)
    child = running(start, state, good)
    state.unlink()
    wait_until(lambda: "Driver Not Loaded" in "".join(child("node")["problems"]))
    write_state(state, [*(replace(card, temp=90) for card in cards(3))])
    wait_until(lambda: [*child("node")["temps"].values()] == [90.0] * 3)
    assert child("node")["problems"] == []


def test_eight_cards_are_sampled_on_time_while_the_process_exports_to_a_dead_collector(
    start: Start, state: Path
) -> None:
    fleet = cards(CARDS)
    write_state(state, fleet)
    with BlackHole() as hole:
        child = start(
            OTEL_EXPORTER_OTLP_ENDPOINT=hole.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_METRIC_EXPORT_INTERVAL="50",
        )
        child("start_node", 1.0)
        child("export_node")
        assert hole.wait_for_victim(30)
        for temp in range(60, 65):
            write_state(state, [replace(card, temp=temp) for card in fleet])
            wait_until(lambda: set(child("node")["temps"].values()) == {float(temp)})  # noqa: B023
        seen = child("node")
    assert len(seen["times"]) == CARDS
    for times in seen["times"].values():
        assert len(times) >= 5
        assert max(later - earlier for earlier, later in pairwise(times)) <= LATEST_S

"""The NVML reader on the real ``pynvml``, over the stand-in driver.

The library is found at a process' start, so the reader runs in a child; the parent changes the
driver's state between its commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.driver.build import GIB, StubCard, build, cards, environment, write_state
from tests.driver.nvml_child import NvmlChild

SIGNALS = {
    "gpu_util",
    "mem_used_bytes",
    "mem_total_bytes",
    "temp_c",
    "power_w",
    "power_limit_w",
    "sm_clock_mhz",
    "mem_clock_mhz",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "cards.state"


@pytest.fixture
def start(library: Path, state: Path) -> Iterator[Callable[[], NvmlChild]]:
    """Starts children; the driver's state should stand before."""
    started: list[NvmlChild] = []

    def begin() -> NvmlChild:
        started.append(NvmlChild(environment(library, state)))
        return started[-1]

    yield begin
    for child in started:
        child.stop()


def signals(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: sample[name] for name in SIGNALS}


def test_every_signal_of_every_card_in_its_unit(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    write_state(state, cards(2))
    first, second = start()("read")
    assert [first["index"], second["index"]] == [0, 1]
    assert second["uuid"] == cards(2)[1].uuid
    assert (first["name"], first["simulated"], first["error"]) == (
        "NVIDIA H100 80GB HBM3",
        False,
        None,
    )
    assert signals(second) == {
        "gpu_util": 10.0,
        "mem_used_bytes": 3 * GIB,
        "mem_total_bytes": 80 * GIB,
        "temp_c": 41.0,
        "power_w": 72.5,
        "power_limit_w": 700.0,
        "sm_clock_mhz": 1980.0,
        "mem_clock_mhz": 2619.0,
    }


def test_the_driver_s_new_values_are_seen_and_negative_ones_too(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    card = cards(1)[0]
    write_state(state, [card])
    child = start()
    assert child("read")[0]["temp_c"] == 40.0
    write_state(state, [replace(card, temp=-5, util=99)])
    (sample,) = child("read")
    assert (sample["temp_c"], sample["gpu_util"]) == (-5.0, 99.0)


def test_what_a_card_does_not_support_is_absent_for_good_and_others_have_it(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    plain, full = cards(2)
    none = replace(plain, unsupported=("util", "mem", "temp", "power", "limit", "sm", "memclock"))
    write_state(state, [none, full])
    child = start()
    for _ in range(2):
        first, second = child("read")
        assert signals(first) == dict.fromkeys(SIGNALS)
        assert first["error"] is None
        assert None not in signals(second).values()
    write_state(state, [plain, full])
    assert signals(child("read")[0]) == dict.fromkeys(SIGNALS)
    assert child("problems") == []


def test_an_old_driver_is_read_by_the_calls_it_has(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    newer = ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetMemoryInfo_v2"]
    write_state(state, cards(1), absent=newer)
    (sample,) = start()("read")
    assert sample["temp_c"] == 40.0
    assert sample["mem_used_bytes"] == 4 * GIB  # the first version counts what is reserved
    assert None not in signals(sample).values()


def test_a_driver_without_a_call_reads_the_rest(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    write_state(state, cards(1), absent=["nvmlDeviceGetUtilizationRates"])
    (sample,) = start()("read")
    assert {name for name, value in signals(sample).items() if value is None} == {"gpu_util"}
    assert sample["error"] is None


def test_a_lost_card_says_so_and_the_others_go_on_and_it_may_come_back(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    good, bad, other = cards(3)
    write_state(state, [good, bad, other])
    child = start()
    child("read")
    write_state(state, [good, replace(bad, lost=True), other])
    before, lost, after = child("read")
    assert (lost["uuid"], lost["error"]) == (bad.uuid, "GPU is lost")
    assert signals(lost) == dict.fromkeys(SIGNALS)
    assert None not in signals(before).values()
    assert None not in signals(after).values()
    assert child("problems") == [f"card 1 ({bad.uuid}): card: GPU is lost"]
    write_state(state, [good, bad, other])
    assert child("read")[1]["error"] == "GPU is lost"  # looked up again only now and then
    child("advance", 10.0)
    assert child("read")[1]["temp_c"] == 41.0
    assert child("problems") == []


def test_a_card_lost_from_the_start_gets_its_name_when_it_comes(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    good, bad = cards(2)
    write_state(state, [good, replace(bad, lost=True)])
    child = start()
    first, second = child("read")
    assert (second["uuid"], second["error"]) == ("unknown-1", "GPU is lost")
    assert first["temp_c"] == 40.0
    write_state(state, [good, bad])
    child("advance", 10.0)
    assert child("read")[1]["uuid"] == bad.uuid


def test_a_late_driver_is_found_at_a_bounded_rate_and_may_go_again(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    child = start()
    assert child("read") == []
    missing = child("missing")
    assert missing["code"] == 9
    assert missing["reason"].startswith("NVML: Driver Not Loaded")
    assert child("problems") == [missing["reason"]]
    write_state(state, cards(1))
    assert child("read") == []
    child("advance", 10.0)
    assert len(child("read")) == 1
    assert child("missing") is None
    state.unlink()
    assert child("read") == []
    assert child("missing")["code"] == 9
    write_state(state, cards(2))
    child("advance", 10.0)
    assert len(child("read")) == 2


def test_no_library_at_all_is_told_with_what_to_do(tmp_path: Path) -> None:
    env = {**environment(tmp_path, tmp_path / "none"), "LD_LIBRARY_PATH": str(tmp_path)}
    child = NvmlChild(env)
    try:
        child("read")
        if child("missing") is None:
            pytest.skip("this machine has a driver of its own")
        assert child("missing")["code"] == 12
        assert "no NVIDIA driver" in child("problems")[0]
        assert child("uuid_of", "0").startswith("UnknownCardError: card '0' can't be looked up")
    finally:
        child.stop()


def test_names_of_cards_become_their_uuid(start: Callable[[], NvmlChild], state: Path) -> None:
    first, second = cards(2)
    write_state(state, [first, second, replace(first, uuid="GPU-lost", lost=True)])
    child = start()
    assert child("uuid_of", "1") == second.uuid
    assert child("uuid_of", " 0 ") == first.uuid
    assert child("uuid_of", second.uuid) == second.uuid
    assert child("uuid_of", "GPU-00000001") == second.uuid
    assert child("uuid_of", "MIG-1234") == "MIG-1234"
    for wrong in ("7", "GPU-ffff", "GPU-0000", "", "-1"):
        assert child("uuid_of", wrong).startswith("UnknownCardError")


def test_a_closed_reader_reads_nothing(start: Callable[[], NvmlChild], state: Path) -> None:
    write_state(state, cards(1))
    child = start()
    child("read")
    child("close")
    child("close")
    assert child("read") == []
    assert child("problems") == ["the reader was closed"]


def wait_until(ask: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Ask a child until it says yes; each question is a round trip of its own."""
    end = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < end, "the child did not get there in time"


def test_a_hanging_card_makes_all_stale_until_it_answers_with_one_thread(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    good, bad = cards(2)
    write_state(state, [good, bad])
    child = start()
    child("start_node", 0.01)
    wait_until(lambda: len(child("node")["ages"]) == 2)
    write_state(state, [good, replace(bad, hang=True)])
    wait_until(lambda: min(child("node")["ages"].values()) > 0.1)
    assert child("node")["samplers"] == 1
    write_state(state, [good, bad])
    wait_until(lambda: max(child("node")["ages"].values()) < 0.1)
    assert child("node")["samplers"] == 1
    assert child("close_node", 10.0) is True
    assert child("node")["samplers"] == 0


def test_a_hanging_card_does_not_hold_up_the_end(
    start: Callable[[], NvmlChild], state: Path
) -> None:
    hanging = replace(cards(1)[0], hang=True)
    write_state(state, [hanging])
    child = start()
    child("start_node", 0.01)
    assert child("close_node", 0.05) is False
    write_state(state, [StubCard(hanging.uuid)])
    assert child("close_node", 10.0) is True

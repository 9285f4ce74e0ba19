"""The NVML reader on the real ``pynvml``, over the stand-in driver.

The library is found at a process' start, so the reader runs in a child; the parent changes the
driver's state between its commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from telemetry.core.sample import CardSample
from telemetry.nvml_slow import MAX_PROCESSES
from tests.driver.build import (
    GIB,
    LOST,
    MISMATCH,
    NO_PERMISSION,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    UNKNOWN,
    StubCard,
    cards,
    environment,
    write_state,
)
from tests.driver.nvml_child import NvmlChild

Start = Callable[..., NvmlChild]

IDENTITY = {
    "timestamp", "index", "uuid", "name", "simulated", "error", "driver_version", "pci_bus_id",
}  # fmt: skip
SIGNALS = {field.name for field in fields(CardSample)} - IDENTITY

BUSY = StubCard(
    "GPU-busy",
    name="NVIDIA L40S",
    bus_id="00000000:AF:00.0",
    temp=71,
    mem_temp=80,
    margin=16,
    util=97,
    mem_util=55,
    mem_used=30 * GIB,
    power_mw=345_600,
    energy_mj=2**33 * 1_000,
    reasons=0x04 | 0x20,
    pstate=2,
    fan=64,
    ecc_corrected=5,
    ecc_uncorrected=1,
    ecc_corrected_total=50,
    ecc_uncorrected_total=2,
    rows_corrected=3,
    rows_uncorrected=4,
    rows_pending=True,
    replays=9,
    processes=((17, GIB), (18, None), (19, 2 * GIB)),
)
TOLD = {
    "gpu_util": 97.0,
    "mem_bus_util": 55.0,
    "mem_used_bytes": 30 * GIB,
    "mem_free_bytes": 49 * GIB,
    "mem_total_bytes": 80 * GIB,
    "mem_reserved_bytes": GIB,
    "temp_c": 71.0,
    "mem_temp_c": 80.0,
    "margin_c": 16.0,
    "temp_slowdown_c": 89.0,
    "temp_shutdown_c": 94.0,
    "temp_max_operating_c": 87.0,
    "power_w": 345.6,
    "power_limit_w": 700.0,
    "energy_j": 2.0**33,
    "sm_clock_mhz": 1980.0,
    "mem_clock_mhz": 2619.0,
    "throttle": ["power_cap", "sw_thermal"],
    "pstate": 2,
    "fan_percent": 64.0,
    "ecc_corrected": 5,
    "ecc_uncorrected": 1,
    "ecc_corrected_total": 50,
    "ecc_uncorrected_total": 2,
    "rows_corrected": 3,
    "rows_uncorrected": 4,
    "rows_pending": True,
    "rows_failed": False,
    "pcie_replays": 9,
    "mig": False,
    "processes": [
        {"pid": 19, "mem_bytes": 2 * GIB},
        {"pid": 17, "mem_bytes": GIB},
        {"pid": 18, "mem_bytes": None},
    ],
}


def signals(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: sample[name] for name in SIGNALS}


def absent(sample: dict[str, Any]) -> set[str]:
    return {name for name, value in signals(sample).items() if value is None}


def test_every_signal_of_every_card_in_its_unit(start: Start, state: Path) -> None:
    write_state(state, [*cards(1), BUSY])
    plain, busy = start()("read")
    assert [plain["index"], busy["index"]] == [0, 1]
    assert (busy["uuid"], busy["name"], busy["simulated"], busy["error"]) == (
        "GPU-busy",
        "NVIDIA L40S",
        False,
        None,
    )
    assert (busy["driver_version"], busy["pci_bus_id"]) == ("575.57.08", "00000000:AF:00.0")
    assert signals(busy) == TOLD
    assert absent(plain) == set()
    assert (plain["uuid"], plain["throttle"], plain["processes"]) == (cards(1)[0].uuid, [], [])


def test_fast_signals_are_read_each_time_and_slow_ones_now_and_then(
    start: Start, state: Path
) -> None:
    card = cards(1)[0]
    write_state(state, [card])
    child = start()
    assert (child("read")[0]["temp_c"], child("read")[0]["fan_percent"]) == (40.0, 30.0)
    write_state(state, [replace(card, temp=-5, util=99, reasons=0x48, fan=90, ecc_uncorrected=1)])
    (sample,) = child("read")
    assert (sample["temp_c"], sample["gpu_util"]) == (-5.0, 99.0)
    assert sample["throttle"] == ["hw_slowdown", "hw_thermal"]
    assert (sample["fan_percent"], sample["ecc_uncorrected"]) == (30.0, 0)
    child("advance", 15.0)
    (sample,) = child("read")
    assert (sample["fan_percent"], sample["ecc_uncorrected"]) == (90.0, 1)


def test_a_card_after_ada_tells_its_thresholds_as_signed_offsets_of_the_margin(
    start: Start, state: Path
) -> None:
    write_state(state, [replace(BUSY, refuses={"threshold": NOT_SUPPORTED})])
    (sample,) = start()("read")
    assert sample["temp_max_operating_c"] == 71 + 16
    assert sample["temp_slowdown_c"] == 71 + 16 + 2
    assert sample["temp_shutdown_c"] == 71 + 16 + 8


def test_a_card_without_a_margin_has_the_one_to_its_threshold_or_none(
    start: Start, state: Path
) -> None:
    no_margin = {"margin": NOT_SUPPORTED}
    write_state(
        state,
        [
            replace(BUSY, uuid="GPU-a", refuses=no_margin),
            replace(BUSY, uuid="GPU-b", refuses={**no_margin, "threshold": NOT_SUPPORTED}),
        ],
    )
    first, second = start()("read")
    assert first["margin_c"] == 89 - 71
    thresholds = {"temp_slowdown_c", "temp_shutdown_c", "temp_max_operating_c"}
    assert absent(second) == {"margin_c"} | thresholds


ABSENT = {
    "util": {"gpu_util", "mem_bus_util"},
    "mem": {"mem_used_bytes", "mem_free_bytes", "mem_total_bytes", "mem_reserved_bytes"},
    "temp": {"temp_c"},
    "mem_temp": {"mem_temp_c"},
    "power": {"power_w"},
    "limit": {"power_limit_w"},
    "energy": {"energy_j"},
    "sm": {"sm_clock_mhz"},
    "memclock": {"mem_clock_mhz"},
    "reasons": {"throttle"},
    "pstate": {"pstate"},
    "fan": {"fan_percent"},
    "ecc": {"ecc_corrected", "ecc_uncorrected", "ecc_corrected_total", "ecc_uncorrected_total"},
    "rows": {"rows_corrected", "rows_uncorrected", "rows_pending", "rows_failed"},
    "replays": {"pcie_replays"},
    "mig": {"mig"},
    "processes": {"processes"},
}


def test_what_a_card_does_not_support_is_absent_for_good_and_others_have_it(
    start: Start, state: Path
) -> None:
    lacking = [
        replace(BUSY, uuid=f"GPU-{signal}", refuses={signal: NOT_SUPPORTED})
        for signal in [*ABSENT][:15]
    ]
    write_state(state, [*lacking, BUSY])
    child = start()
    for _ in range(2):
        *samples, full = child("read")
        assert [absent(sample) for sample in samples] == [*ABSENT.values()][:15]
        assert {sample["error"] for sample in samples} == {None}
        assert absent(full) == set()
    write_state(state, [*(replace(card, refuses={}) for card in lacking), BUSY])
    child("advance", 15.0)
    assert [absent(sample) for sample in child("read")[:-1]] == [*ABSENT.values()][:15]
    assert child("problems") == []


def test_a_card_with_nothing_to_tell_is_no_fault(start: Start, state: Path) -> None:
    everything = dict.fromkeys([*ABSENT, "margin", "threshold", "tlimit"], NOT_SUPPORTED)
    write_state(state, [replace(BUSY, refuses=everything)])
    child = start()
    for _ in range(2):
        (sample,) = child("read")
        assert absent(sample) == SIGNALS
        assert (sample["uuid"], sample["error"]) == ("GPU-busy", None)
    assert child("problems") == []


def test_a_divided_card_says_so_and_has_no_utilisation(start: Start, state: Path) -> None:
    write_state(state, [replace(BUSY, mig=True, refuses={"util": NOT_SUPPORTED})])
    (sample,) = start()("read")
    assert signals(sample) == {**TOLD, "mig": True, "gpu_util": None, "mem_bus_util": None}


def test_only_the_greatest_of_very_many_processes_are_told(start: Start, state: Path) -> None:
    many = tuple((pid, pid) for pid in range(MAX_PROCESSES + 5))
    write_state(state, [replace(BUSY, processes=many)])
    (sample,) = start()("read")
    told = [process["pid"] for process in sample["processes"]]
    assert told == sorted(range(5, MAX_PROCESSES + 5), reverse=True)


def test_an_old_driver_is_read_by_the_calls_it_has(start: Start, state: Path) -> None:
    newer = [
        "nvmlDeviceGetTemperatureV",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetMarginTemperature",
        "nvmlDeviceGetFieldValues",
    ]
    cold = replace(BUSY, uuid="GPU-cold", temp=-5)
    write_state(state, [BUSY, cold], absent=newer)
    busy, frozen = start()("read")
    older = {
        "mem_used_bytes": 31 * GIB,  # the first version counts what is reserved
        "mem_reserved_bytes": None,
        "mem_temp_c": None,
        "margin_c": 18.0,
    }
    assert signals(busy) == {**TOLD, **older}
    assert frozen["temp_c"] == -5.0


@pytest.mark.parametrize(
    ("function", "lost"),
    [
        ("nvmlDeviceGetUtilizationRates", {"gpu_util", "mem_bus_util"}),
        ("nvmlDeviceGetTotalEnergyConsumption", {"energy_j"}),
        ("nvmlDeviceGetRemappedRows", ABSENT["rows"]),
        ("nvmlEventSetCreate", set()),
        ("nvmlDeviceRegisterEvents", set()),
        ("nvmlSystemGetDriverVersion", set()),
        ("nvmlDeviceGetPciInfo_v3", set()),
    ],
)
def test_a_driver_without_a_call_reads_the_rest(
    start: Start, state: Path, function: str, lost: set[str]
) -> None:
    write_state(state, cards(1), absent=[function])
    child = start()
    for _ in range(2):
        (sample,) = child("read")
        assert absent(sample) == lost
        assert sample["error"] is None
    assert child("problems") == []


@pytest.mark.parametrize(
    ("state_of_driver", "what_to_do"),
    [
        ({"absent": ["nvmlInitWithFlags"]}, "the driver is too old"),
        ({"absent": ["nvmlDeviceGetCount_v2"]}, "the driver is too old"),
        ({"init": MISMATCH}, "of different versions; restart the node"),
        ({"init": UNKNOWN}, "look at the kernel log"),
    ],
)
def test_a_driver_that_can_t_be_used_is_told_with_what_to_do_and_may_be_replaced(
    start: Start, state: Path, state_of_driver: dict[str, Any], what_to_do: str
) -> None:
    write_state(state, cards(1), **state_of_driver)
    child = start()
    assert child("read") == []
    assert what_to_do in child("problems")[0]
    write_state(state, cards(1))
    child("advance", 10.0)
    assert len(child("read")) == 1
    assert child("problems") == []


def test_a_signal_that_fails_is_absent_and_told_until_it_works_again(
    start: Start, state: Path
) -> None:
    card = cards(1)[0]
    write_state(state, [replace(card, refuses={"power": NO_PERMISSION, "rows": UNKNOWN})])
    child = start()
    (sample,) = child("read")
    assert absent(sample) == {"power_w"} | ABSENT["rows"]
    assert sample["error"] is None
    assert child("problems") == [
        f"card 0 ({card.uuid}): power: Insufficient Permissions",
        f"card 0 ({card.uuid}): remapped rows: Unknown Error",
    ]
    write_state(state, [card])
    child("advance", 15.0)
    assert absent(child("read")[0]) == set()
    assert child("problems") == []


def test_a_signal_that_failed_and_is_then_refused_is_no_trouble_any_more(
    start: Start, state: Path
) -> None:
    card = cards(1)[0]
    write_state(state, [replace(card, refuses={"power": UNKNOWN})])
    child = start()
    child("read")
    assert child("problems") == [f"card 0 ({card.uuid}): power: Unknown Error"]
    write_state(state, [replace(card, refuses={"power": NOT_SUPPORTED})])
    assert absent(child("read")[0]) == {"power_w"}
    assert child("problems") == []


def test_a_card_that_answers_nothing_but_errors_can_t_be_read(start: Start, state: Path) -> None:
    good, bad = cards(2)
    write_state(state, [good, replace(bad, refuses=dict.fromkeys(ABSENT | {"margin": 0}, UNKNOWN))])
    child = start()
    first, second = child("read")
    assert first["error"] is None
    assert second["error"] == "it can't be read: Unknown Error"
    assert absent(second) == SIGNALS
    write_state(state, [good, bad])
    child("advance", 10.0)
    assert absent(child("read")[1]) == set()


@pytest.mark.parametrize(
    ("answer", "said"),
    [(LOST, "GPU is lost"), (RESET_REQUIRED, "GPU requires restart")],
)
def test_a_lost_card_says_so_and_the_others_go_on_and_it_may_come_back(
    start: Start, state: Path, answer: int, said: str
) -> None:
    good, bad, other = cards(3)
    bad = replace(bad, refuses={"fan": NOT_SUPPORTED})
    write_state(state, [good, bad, other])
    child = start()
    child("read")
    write_state(state, [good, replace(bad, lost=answer), other])
    before, lost, after = child("read")
    assert (lost["uuid"], lost["error"]) == (bad.uuid, said)
    assert (lost["pci_bus_id"], lost["name"]) == (bad.bus_id, bad.name)
    assert absent(lost) == SIGNALS
    assert absent(before) == absent(after) == set()
    assert child("problems") == [f"card 1 ({bad.uuid}): card: {said}"]
    write_state(state, [good, replace(bad, refuses={}), other])
    assert child("read")[1]["error"] == said  # looked up again only now and then
    child("advance", 10.0)
    assert absent(child("read")[1]) == set()  # and asked again for what it lacked
    assert child("problems") == []


def test_a_card_lost_from_the_start_gets_its_name_when_it_comes(start: Start, state: Path) -> None:
    good, bad = cards(2)
    write_state(state, [good, replace(bad, lost=LOST)])
    child = start()
    first, second = child("read")
    assert (second["uuid"], second["error"]) == ("unknown-1", "GPU is lost")
    assert first["temp_c"] == 40.0
    write_state(state, [good, bad])
    child("advance", 10.0)
    assert child("read")[1]["uuid"] == bad.uuid


def test_a_late_driver_is_found_at_a_bounded_rate_and_may_go_again(
    start: Start, state: Path
) -> None:
    child = start()
    assert child("read") == []
    (missing,) = child("problems")
    assert missing.startswith("NVML: Driver Not Loaded")
    write_state(state, cards(1))
    assert child("read") == []
    child("advance", 10.0)
    assert len(child("read")) == 1
    assert child("problems") == []
    state.unlink()
    assert child("read") == []
    assert child("problems") == [missing]
    write_state(state, cards(2))
    assert child("read") == []
    child("advance", 10.0)
    assert len(child("read")) == 2
    assert child("problems") == []


def test_no_library_at_all_is_told_with_what_to_do(tmp_path: Path) -> None:
    env = {**environment(tmp_path, tmp_path / "none"), "LD_LIBRARY_PATH": str(tmp_path)}
    child = NvmlChild(env)
    try:
        child("read")
        problems = child("problems")
        if not any(problem.startswith("NVML: ") for problem in problems):
            pytest.skip("this machine has a driver of its own")
        assert "no NVIDIA driver" in problems[0]
        assert child("uuid_of", "0").startswith("UnknownCardError: card '0' can't be looked up")
    finally:
        child.stop()


def test_names_of_cards_become_their_uuid(start: Start, state: Path) -> None:
    first, second = cards(2)
    parts = replace(second, instances=("MIG-11", "MIG-12"))
    write_state(state, [first, parts, replace(first, uuid="GPU-lost", lost=LOST)])
    child = start()
    assert child("uuid_of", "1") == second.uuid
    assert child("uuid_of", " 0 ") == first.uuid
    assert child("uuid_of", second.uuid) == second.uuid
    assert child("uuid_of", "GPU-00000001") == second.uuid
    # A part of a card is guarded as the card.
    assert child("uuid_of", "MIG-12") == second.uuid
    for wrong in ("7", "MIG-1", "MIG-13", "GPU-ffff", "GPU-0000", "", "-1"):
        assert child("uuid_of", wrong).startswith("UnknownCardError")


def test_a_closed_reader_reads_nothing(start: Start, state: Path) -> None:
    write_state(state, cards(1))
    child = start()
    child("read")
    child("close")
    child("close")
    assert child("read") == []
    assert child("problems") == ["the reader was closed"]

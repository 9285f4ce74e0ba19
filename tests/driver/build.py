"""Builds the stand-in driver and writes the state that its cards are read from.

A process sees it when it is *started* with :func:`environment`: the dynamic loader reads
``LD_LIBRARY_PATH`` only once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml_stub.c")
GIB = 2**30
NOT_SUPPORTED, NO_PERMISSION, LOST, RESET_REQUIRED, MISMATCH, UNKNOWN = 3, 4, 15, 16, 18, 999
"""Answers of NVML."""


@dataclass(frozen=True, slots=True)
class StubCard:
    """One card of the stand-in driver.

    Args:
        uuid, name, bus_id: Identity.
        temp, mem_temp: Core and memory temperature, deg C; may be negative.
        margin: Deg C to the slowdown point.
        slowdown, shutdown, gpu_max: Core temperatures of a card before Ada; -1 for none.
        slowdown_offset, shutdown_offset, gpu_max_offset: The same of a later card, as offsets of
            the margin (T.Limit).
        util, mem_util: Utilisation of the card and of its memory bus, percent.
        mem_used, mem_total, mem_reserved: Bytes.
        power_mw, limit_mw, energy_mj: Draw and enforced limit, mW; energy, mJ.
        sm_mhz, mem_mhz: Clocks.
        reasons: Bit mask of what holds the clocks down.
        pstate, fan: Performance state; fan speed, percent.
        ecc_corrected, ecc_uncorrected, ecc_corrected_total, ecc_uncorrected_total: Memory errors
            since the driver was loaded, and in the card's life.
        rows_corrected, rows_uncorrected, rows_pending, rows_failed: Remapped rows.
        replays, mig: Retransmissions on the bus; whether MIG is on.
        processes: Process id and bytes (None: not told) of each program.
        instances: UUIDs (``MIG-...``) of the parts that it is divided into.
        xids: All its faults since the driver was loaded; add to the end for a new one.
        lost: Error that every call about the card answers: ``LOST``, ``RESET_REQUIRED``, or 0.
        hang: Functions whose calls about this card wait until the state lets them go; ``all``.
        refuses: Errors that calls of a signal answer: ``util``, ``mem``, ``temp``, ``mem_temp``,
            ``margin``, ``threshold``, ``tlimit``, ``power``, ``limit``, ``energy``, ``sm``,
            ``memclock``, ``reasons``, ``pstate``, ``fan``, ``ecc``, ``rows``, ``replays``,
            ``mig``, ``processes``, ``events``, ``pci``.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    bus_id: str = "00000000:3B:00.0"
    temp: int = 41
    mem_temp: int = 48
    margin: int = 46
    slowdown: int = 89
    shutdown: int = 94
    gpu_max: int = 87
    slowdown_offset: int = -2
    shutdown_offset: int = -8
    gpu_max_offset: int = 0
    util: int = 0
    mem_util: int = 7
    mem_used: int = 3 * GIB
    mem_total: int = 80 * GIB
    mem_reserved: int = GIB
    power_mw: int = 72_500
    limit_mw: int = 700_000
    energy_mj: int = 5_000_000_000
    sm_mhz: int = 1_980
    mem_mhz: int = 2_619
    reasons: int = 0
    pstate: int = 0
    fan: int = 30
    ecc_corrected: int = 0
    ecc_uncorrected: int = 0
    ecc_corrected_total: int = 0
    ecc_uncorrected_total: int = 0
    rows_corrected: int = 0
    rows_uncorrected: int = 0
    rows_pending: bool = False
    rows_failed: bool = False
    replays: int = 0
    mig: bool = False
    processes: tuple[tuple[int, int | None], ...] = ()
    instances: tuple[str, ...] = ()
    xids: tuple[int, ...] = ()
    lost: int = 0
    hang: tuple[str, ...] = ()
    refuses: Mapping[str, int] = field(default_factory=dict)


def cards(count: int) -> list[StubCard]:
    """Cards with distinct identities and readings."""
    return [
        StubCard(f"GPU-{i:08x}-0000-4000-8000-{i:012x}", temp=40 + i, util=10 * i)
        for i in range(count)
    ]


def build(directory: Path) -> Path:
    """Compile the driver into *directory* and return the directory.

    Raises:
        RuntimeError: There is no C compiler, or it refused the source.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the stand-in driver needs a C compiler named cc; install gcc")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    target = directory / SONAME
    done = subprocess.run(
        [compiler, *flags, f"-Wl,-soname,{SONAME}", "-o", str(target), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"cc refused {SOURCE.name}: {done.stderr}")
    return directory


def write_state(
    path: Path,
    state: Sequence[StubCard],
    *,
    driver: str = "575.57.08",
    absent: Sequence[str] = (),
    init: int = 0,
    serial: bool = False,
) -> None:
    """Replace the state file in one step.

    Args:
        path: What ``NVML_STUB_STATE`` names.
        state: The cards.
        driver: Version.
        absent: Functions that the driver lacks.
        init: What the driver answers to ``nvmlInit``.
        serial: Whether a call that hangs holds up all others.
    """
    lines = [f"driver={driver}", f"count={len(state)}", f"absent={','.join(absent)}"]
    lines += [f"init={init}", f"serial={serial:d}"]
    for index, card in enumerate(state):
        lines += [f"card{index}.{name}={_text(card, name)}" for name in StubCard.__slots__]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.replace(path)


def _text(card: StubCard, name: str) -> str:
    if name == "processes":
        return ",".join(f"{pid}:{'-' if size is None else size}" for pid, size in card.processes)
    if name == "refuses":
        return ",".join(f"{signal}:{error}" for signal, error in card.refuses.items())
    if name in {"xids", "hang", "instances"}:
        return ",".join(map(str, getattr(card, name)))
    value = getattr(card, name)
    return value if isinstance(value, str) else f"{value:d}"


def environment(library: Path, state: Path) -> dict[str, str]:
    """The environment to start a process with so that it finds the stand-in driver."""
    root = str(Path(__file__).parents[2])
    searched = [str(library), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    imported = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(searched),
        "NVML_STUB_STATE": str(state),
        "PYTHONPATH": os.pathsep.join(imported),
    }

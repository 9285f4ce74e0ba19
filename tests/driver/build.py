"""Builds the stand-in driver and writes the state that its cards are read from.

A process sees it when it is *started* with :func:`environment`: the dynamic loader reads
``LD_LIBRARY_PATH`` only once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml_stub.c")
GIB = 2**30


@dataclass(frozen=True, slots=True)
class StubCard:
    """One card of the stand-in driver.

    Args:
        uuid, name: Identity.
        temp: Core temperature, deg C; may be negative.
        util, mem_util: Utilisation of the card and of its memory bus, percent.
        mem_used, mem_total, mem_reserved: Bytes.
        power_mw, limit_mw: Draw and enforced limit, mW.
        sm_mhz, mem_mhz: Clocks.
        lost: Every call about the card answers "GPU is lost".
        hang: Every call about the card waits until the state lets it go.
        unsupported: Signals answered "not supported": ``util``, ``mem``, ``temp``, ``power``,
            ``limit``, ``sm``, ``memclock``.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    temp: int = 41
    util: int = 0
    mem_util: int = 0
    mem_used: int = 3 * GIB
    mem_total: int = 80 * GIB
    mem_reserved: int = GIB
    power_mw: int = 72_500
    limit_mw: int = 700_000
    sm_mhz: int = 1_980
    mem_mhz: int = 2_619
    lost: bool = False
    hang: bool = False
    unsupported: tuple[str, ...] = ()


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
) -> None:
    """Replace the state file in one step; *absent* names functions that the driver lacks."""
    lines = [f"driver={driver}", f"count={len(state)}", f"absent={','.join(absent)}"]
    for index, card in enumerate(state):
        lines += [f"card{index}.{key}={value}" for key, value in _fields(card)]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.replace(path)


def _fields(card: StubCard) -> list[tuple[str, str]]:
    values = {name: getattr(card, name) for name in StubCard.__slots__}
    return [
        (name, ",".join(value) if isinstance(value, tuple) else f"{value:d}")
        if not isinstance(value, str)
        else (name, value)
        for name, value in values.items()
    ]


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

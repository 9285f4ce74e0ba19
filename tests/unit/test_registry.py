"""Engines by name: what is refused, and what is not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serve_app.engines.base import Engine
from serve_app.engines.registry import KINDS, create
from serve_app.errors import ConfigError


def test_an_engine_with_options_from_a_file() -> None:
    options = {
        "slots": 7,
        "first_chunk_s": 0,
        "faults": [{"kind": "crash", "tag": 3, "times": 1}],
    }
    engine = create("simulated", options)
    assert isinstance(engine, Engine)
    assert (engine.info.name, engine.slots) == ("simulated", 7)


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'bark'; there are " + ", ".join(KINDS)):
        create("bark", {})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"slot": 1}, "slot"),
        ({"slots": "many"}, "slots"),
        ({"slots": 0}, "0 slots"),
        ({"real_time_factor": -1.0}, "real_time_factor"),
        ({"faults": [{"kind": "flood"}]}, r"faults\.0\.kind"),
        ({"faults": [{"kind": "crash", "tags": 1}]}, r"faults\.0\.tags"),
        ({"faults": [{"kind": "crash", "share": 2.0}]}, "share"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        create("simulated", options)


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_missing_package_names_the_extra() -> None:
    said = run("""
import sys
from serve_app.engines.registry import create
from serve_app.errors import ConfigError

sys.modules["onnx"] = None
try:
    create("piper", {})
except ConfigError as error:
    print(error)
""")
    assert "'onnx'" in said
    assert "pip install 'vibevoice-serve[piper]'" in said


@pytest.mark.parametrize(
    ("kind", "foreign"),
    [
        ("simulated", {"torch", "transformers", "onnx", "onnxruntime", "piper", "soxr", "ray"}),
        ("piper", {"torch", "transformers", "ray"}),
    ],
)
def test_an_engine_imports_only_what_it_needs(kind: str, foreign: set[str]) -> None:
    program = (
        "import sys; from serve_app.engines.registry import create; "
        f"create({kind!r}, {{}}); print(*sys.modules)"
    )
    assert not foreign & set(run(program).split())

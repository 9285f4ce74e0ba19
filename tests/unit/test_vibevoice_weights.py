"""Weights in int8 and compiled parts: off unless asked for, and what is missing is named."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partialmethod
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from serve_app.engines import vibevoice_weights
from serve_app.engines.registry import create
from serve_app.engines.vibevoice import VibeVoiceEngine
from serve_app.engines.vibevoice_load import Checkpoint, load
from serve_app.engines.vibevoice_weights import Int8, compile_parts, int8_arguments
from serve_app.errors import ConfigError
from tests.contract.engine_cases import listen
from tests.tiny_vibevoice import ArrayVoices, checkpoint
from tests.unit.test_vibevoice_engine import task
from tests.vibevoice_engine import as_transformers_has_it, tiny
from tests.vibevoice_runs import SEGMENTS, distance, speak, stock


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As the tiny model wants it."""
    tiny()


@pytest.mark.parametrize(
    ("int8", "package"), [("torchao", "torchao"), ("bitsandbytes", "bitsandbytes")]
)
def test_a_missing_package_is_named(int8: Int8, package: str) -> None:
    with (
        mock.patch.object(vibevoice_weights, "find_spec", return_value=None),
        pytest.raises(ConfigError, match=f"'{package}'.*pip install {package}"),
    ):
        create(
            "vibevoice",
            {"model": str(checkpoint()), "device": "cpu", "library": "memory://v", "int8": int8},
        )


def test_nothing_is_asked_for_by_default() -> None:
    assert int8_arguments(None, "cpu") == {}


@pytest.mark.parametrize("int8", ["torchao", "bitsandbytes"])
async def test_int8_speaks_with_independent_rows(int8: Int8) -> None:
    pytest.importorskip(int8)
    loaded = load(Checkpoint(str(checkpoint()), None, "cpu", "float32", int8=int8))
    layer = loaded.model.model.language_model.layers[0]
    assert type(layer.mlp.up_proj.weight) is not torch.nn.Parameter
    assert type(loaded.model.lm_head.weight) is torch.nn.Parameter
    assert loaded.revision != tiny().revision
    engine = VibeVoiceEngine(loaded, ArrayVoices(), slots=1, steps=4)
    assert (await listen(engine, task(1))).ends
    await engine.close()
    alone = [speak(loaded, [segment])[0] for segment in SEGMENTS]
    assert distance(speak(loaded, SEGMENTS), alone) < 1e-5


def test_scores_that_are_stored_as_embeddings() -> None:
    """As in the 1.5B model: the file has them once, and nothing is missing."""
    folder = checkpoint(tied=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    loaded = load(Checkpoint(str(folder), None, "cpu", "float32"))
    theirs = [stock(as_transformers_has_it(loaded, folder), SEGMENTS[0], ArrayVoices().voices)]
    assert distance(speak(loaded, SEGMENTS[:1]), theirs) < 1e-5


async def test_16_bits_speak_beside_others() -> None:
    """With the numbers that a card has; its kernels are not heard here."""
    loaded = load(Checkpoint(str(checkpoint()), None, "cpu", "bfloat16"))
    some = [replace(segment, arrives=0, budget=9) for segment in SEGMENTS[1:4]]
    for samples, segment, known in zip(speak(loaded, some), some, speak(tiny(), some), strict=True):
        assert np.isfinite(samples).all()
        assert 0 < samples.size <= 3200 * segment.budget
        # Weights are chaotic, and the first frame has not had the time to go astray.
        assert np.abs(samples[:3200] - known[:3200]).max() < 0.1 * np.abs(known[:3200]).max()
    engine = VibeVoiceEngine(loaded, ArrayVoices(), slots=2, steps=4)
    await engine.health()
    (end,) = (spoken := await listen(engine, task(1))).ends
    await engine.close()
    assert len(spoken.pcm) == 2 * 3200 * end.output_frames > 0


def test_compiled_parts_give_the_same_samples() -> None:
    eager: Any = partialmethod(torch.nn.Module.compile, backend="eager")
    compiled = replace(tiny(), model=copy.deepcopy(tiny().model))
    with mock.patch.object(torch.nn.Module, "compile", eager):
        compile_parts(compiled.model)
    layers = compiled.model.model.language_model.layers
    assert all(layer.mlp._compiled_call_impl is not None for layer in layers)
    assert distance(speak(compiled, SEGMENTS), speak(tiny(), SEGMENTS)) < 1e-5


def test_compiled_weights_are_another_revision() -> None:
    plain = Checkpoint(str(checkpoint()), None, "cpu", "float32")
    with mock.patch.object(torch.nn.Module, "compile") as compiled:
        assert load(plain).revision == tiny().revision
        assert not compiled.called
        assert load(replace(plain, compiled=True)).revision != tiny().revision
        assert compiled.call_count == 3

"""VibeVoice engines over the tiny model, which is loaded once a process."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from transformers import VibeVoiceForConditionalGeneration

from serve_app.engines.vibevoice import VibeVoiceEngine
from serve_app.engines.vibevoice_load import Checkpoint, LoadedModel, load
from serve_app.engines.vibevoice_memory import MemoryReading
from tests.tiny_vibevoice import ArrayVoices, checkpoint


@cache
def tiny() -> LoadedModel:
    """The loaded model; one thread, because more are slower on a model this small."""
    torch.set_num_threads(1)
    return load(Checkpoint(str(checkpoint()), None, "cpu", "float32"))


def as_transformers_has_it(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """The same checkpoint, nothing in it replaced."""
    model = VibeVoiceForConditionalGeneration.from_pretrained(
        folder, attn_implementation={"text_config": "sdpa"}
    )
    return replace(loaded, model=model.eval())


@cache
def stock_tiny() -> LoadedModel:
    """The tiny model as transformers has it."""
    return as_transformers_has_it(tiny(), checkpoint())


def tiny_engine(
    slots: int, voices: ArrayVoices | None = None, memory: MemoryReading | None = None
) -> VibeVoiceEngine:
    """An engine of so many slots with four voices of noise."""
    return VibeVoiceEngine(tiny(), voices or ArrayVoices(), slots=slots, steps=4, memory=memory)

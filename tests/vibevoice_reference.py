"""transformers' own ``generate``, made comparable: the same noise, the text guidance left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.generation import UnbatchedClassifierFreeGuidanceLogitsProcessor

from serve_app.engines.vibevoice_diffusion import solver_steps

Turn = tuple[str, str]


class Scheduler:
    """The solver's steps in the shape that ``generate`` asks for."""

    def __init__(self) -> None:
        self.timesteps = torch.zeros(0)

    def set_timesteps(self, num_inference_steps: int) -> None:
        self._steps = solver_steps(num_inference_steps)
        self.timesteps = torch.tensor([step.level for step in self._steps])
        self._at, self._before = 0, torch.zeros(())

    def step(self, velocity: Tensor, timestep: Tensor, x: Tensor) -> SimpleNamespace:
        step = self._steps[self._at]
        assert int(timestep) == step.level
        clean = step.alpha * x - step.sigma * velocity
        moved = step.keep * x + step.gain * clean + step.lead * self._before
        self._at, self._before = self._at + 1, clean
        return SimpleNamespace(prev_sample=moved)


def messages(turns: Sequence[Turn], voices: dict[str, NDArray[np.float32]]) -> list[dict[str, Any]]:
    """A conversation for the chat template; each role's voice goes with its first turn."""
    shown: set[str] = set()
    out = []
    for role, text in turns:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if role in voices and role not in shown:
            content.append({"type": "audio", "audio": voices[role]})
        shown.add(role)
        out.append({"role": role, "content": content})
    return out


def inputs(processor: Any, conversations: list[list[dict[str, Any]]]) -> Any:
    """Batch of prompts as transformers' own processor writes them."""
    return processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


@contextmanager
def without_text_guidance(model: Any) -> Iterator[None]:
    """Take the third pass of the language model out."""
    stock: Callable[..., Any] = model._get_logits_processor

    def lean(*args: Any, **kwargs: Any) -> Any:
        processors = stock(*args, **kwargs)
        processors[:] = [
            item
            for item in processors
            if not isinstance(item, UnbatchedClassifierFreeGuidanceLogitsProcessor)
        ]
        return processors

    with mock.patch.object(model, "_get_logits_processor", lean):
        yield


def generate_alone(
    loaded: Any,
    turns: Sequence[Turn],
    voices: dict[str, NDArray[np.float32]],
    *,
    seed: int,
    budget: int,
    scale: float = 1.3,
    steps: int = 4,
) -> NDArray[np.float32]:
    """A segment's samples; its noise comes from a generator with *seed*, a row a frame."""
    noise = torch.Generator().manual_seed(seed)
    randn = torch.randn

    def rows(*size: Any, **kwargs: Any) -> Tensor:
        assert size[0] == 2
        return randn(size[1], generator=noise).repeat(2, 1)

    prompt = inputs(loaded.processor, [messages(turns, voices)])
    with (
        torch.inference_mode(),
        without_text_guidance(loaded.model),
        mock.patch.object(torch, "randn", rows),
    ):
        (audio,) = loaded.model.generate(
            **prompt,
            noise_scheduler=Scheduler(),
            num_diffusion_steps=steps,
            guidance_scale=scale,
            max_new_tokens=budget,
            sample=False,
        )
    samples: NDArray[np.float32] = audio[0].numpy()
    return samples

"""From two conditions and noise to a frame's latent: DPM-Solver++ (2M) with guidance.

The solver is our own and not diffusers': its coefficients are sixteen lines of arithmetic, known
before the first frame, and with them the whole frame is a fixed list of kernels without Python
state, which is what CUDA graphs need; a dependency of some megabytes goes too.

Source: Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic
Models", algorithm 2 (multistep, data prediction); noise schedule: Nichol and Dhariwal 2021
(squared cosine, betas capped at 0.999); time steps evenly spaced, the last noise level zero. The
guidance is Ho and Salimans 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from serve_app.errors import ConfigError

TRAIN_STEPS: Final = 1000
"""Noise levels of the training, of which the sampling visits some."""

_SUPPORTED: Final = (
    ("beta_schedule", "squaredcos_cap_v2"),
    ("prediction_type", "v_prediction"),
    ("num_train_timesteps", TRAIN_STEPS),
    ("algorithm_type", "dpmsolver++"),
    ("solver_order", 2),
    ("solver_type", "midpoint"),
)


@dataclass(frozen=True, slots=True)
class SolverStep:
    """One step: ``clean = alpha * x - sigma * v``, ``x = keep * x + gain * clean + lead * before``.

    ``before`` is the ``clean`` of the step before; ``lead`` is 0 in the first and the last one.
    """

    level: int
    alpha: float
    sigma: float
    keep: float
    gain: float
    lead: float


def require_solver(scheduler: Mapping[str, Any]) -> None:
    """Refuse a checkpoint's noise scheduler that is not this one.

    Raises:
        ConfigError: Names the setting.
    """
    for name, ours in _SUPPORTED:
        theirs = scheduler.get(name, ours)
        if theirs != ours:
            raise ConfigError(
                f"the checkpoint's noise scheduler has {name} {theirs!r}; the sampler here only "
                f"knows {ours!r}",
                "engine",
            )


def solver_steps(count: int) -> tuple[SolverStep, ...]:
    """The steps from pure noise to a latent.

    Args:
        count: How many, 1..1000; fewer are faster and coarser.
    """
    times = np.arange(TRAIN_STEPS + 1) / TRAIN_STEPS
    bars = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
    kept = np.cumprod(1 - np.minimum(1 - bars[1:] / bars[:-1], 0.999))
    levels = np.linspace(0, TRAIN_STEPS - 1, count + 1).round()[:0:-1].astype(int)
    alphas = np.append(np.sqrt(kept[levels]), 1.0)
    sigmas = np.append(np.sqrt(1 - kept[levels]), 0.0)
    with np.errstate(divide="ignore"):
        ratios = np.log(alphas) - np.log(sigmas)
    steps = []
    for at, level in enumerate(levels):
        width = ratios[at + 1] - ratios[at]
        gain = -alphas[at + 1] * np.expm1(-width)
        second_order = 0 < at < count - 1
        lead = gain * width / (2 * (ratios[at] - ratios[at - 1])) if second_order else 0.0
        keep = sigmas[at + 1] / sigmas[at]
        numbers = (alphas[at], sigmas[at], keep, gain + lead, -lead)
        steps.append(SolverStep(int(level), *map(float, numbers)))
    return tuple(steps)


Modulation = tuple[Tensor, Tensor, Tensor]
"""Shift, factor and gate of a layer in one step, each of shape ``(rows, hidden)``."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Steps and the embeddings of their levels, shape ``(steps, 1, hidden)``."""

    steps: tuple[SolverStep, ...]
    embeddings: Tensor


class LatentSampler:
    """Samples latents with a model's diffusion head.

    What depends on the condition alone is computed for all steps at once: the embeddings of the
    levels once in a lifetime, the modulation of every layer once a frame.

    Args:
        head: The ``diffusion_head`` of a VibeVoice model.
    """

    def __init__(self, head: Any) -> None:
        self._head = head
        self._plans: dict[int, _Plan] = {}

    def sample(
        self, positive: Tensor, negative: Tensor, noise: Tensor, scale: Tensor, steps: int
    ) -> Tensor:
        """Denoise.

        Args:
            positive: Hidden states with the text, shape ``(rows, hidden)``.
            negative: Hidden states without it, the same shape.
            noise: Standard normal, float32, shape ``(rows, latent)``.
            scale: Guidance of each row, shape ``(rows, 1)``.
            steps: Solver steps.

        Returns:
            float32, shape ``(rows, latent)``.
        """
        plan = self._plan(steps)
        head, final = self._head, self._head.final_layer
        shared = head.cond_proj(torch.cat((positive, negative)))
        condition = shared + plan.embeddings
        bent = [self._modulations(layer, condition) for layer in head.layers]
        shifts, stretches = final.linear_1(final.act_fn(condition)).chunk(2, dim=-1)
        lasts = list(zip(shifts.unbind(), (1 + stretches).unbind(), strict=True))
        x, before = noise, noise
        for at, step in enumerate(plan.steps):
            velocity = self._velocity(x.to(shared.dtype), [layer[at] for layer in bent], lasts[at])
            with_text, without = velocity.float().chunk(2)
            guided = torch.addcmul(without, scale, with_text - without)
            clean = torch.sub(step.alpha * x, guided, alpha=step.sigma)
            x = torch.add(step.keep * x, clean, alpha=step.gain)
            if step.lead:
                x = torch.add(x, before, alpha=step.lead)
            before = clean
        return x

    @staticmethod
    def _modulations(layer: Any, condition: Tensor) -> list[Modulation]:
        """What each step does to a layer; the norm's weight is part of it."""
        shift, stretch, gate = layer.linear(layer.act_fn(condition)).chunk(3, dim=-1)
        factor = layer.norm.weight * (1 + stretch)
        return list(zip(shift.unbind(), factor.unbind(), gate.unbind(), strict=True))

    def _velocity(
        self, x: Tensor, modulations: list[Modulation], last: tuple[Tensor, Tensor]
    ) -> Tensor:
        hidden = self._head.noisy_images_proj(torch.cat((x, x)))
        size = hidden.shape[-1:]
        for layer, (shift, factor, gate) in zip(self._head.layers, modulations, strict=True):
            normed = functional.rms_norm(hidden, size, eps=_eps(layer.norm))
            change = layer.ffn(torch.addcmul(shift, normed, factor))
            hidden = torch.addcmul(hidden, gate, change)
        final = self._head.final_layer
        normed = functional.rms_norm(hidden, size, eps=final.rms_norm_eps)
        shift, factor = last
        velocity: Tensor = final.linear_2(torch.addcmul(shift, normed, factor))
        return velocity

    def _plan(self, steps: int) -> _Plan:
        if steps not in self._plans:
            chosen = solver_steps(steps)
            weight = self._head.cond_proj.weight
            levels = torch.tensor([step.level for step in chosen], device=weight.device)
            embedded = self._head.timestep_embedding(levels.to(weight.dtype)).to(weight.dtype)
            self._plans[steps] = _Plan(chosen, self._head.timestep_proj(embedded)[:, None])
        return self._plans[steps]


def _eps(norm: Any) -> float:
    """Of torch's RMSNorm or of transformers'."""
    eps: float = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    return eps

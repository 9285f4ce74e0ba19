"""Parts of the VibeVoice engine by themselves: solver, tokens, prompt, voices, memory."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("torch")

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    VibeVoiceAcousticTokenizerConfig,
    VibeVoiceAcousticTokenizerEncoderConfig,
)
from transformers.generation import ExponentialDecayLengthPenalty, SequenceBiasLogitsProcessor

from serve_app.core.vram import ModelShape, admits, headroom_bytes, slots_that_fit
from serve_app.engines.base import Line
from serve_app.engines.vibevoice_codec import FrameCodec
from serve_app.engines.vibevoice_diffusion import LatentSampler, require_solver, solver_steps
from serve_app.engines.vibevoice_prompt import PromptWriter, harmless, turns_of
from serve_app.engines.vibevoice_stages import Upsampling
from serve_app.engines.vibevoice_tokens import TokenChooser, TokenRules, token_rules
from serve_app.errors import ConfigError
from tests.tiny_vibevoice import processor
from tests.vibevoice_engine import stock_tiny, tiny
from tests.vibevoice_reference import Scheduler

GOLDEN = {
    1: (-0.75821, 0.59679, 0.8425, -0.47769, -0.91013, 0.34893, 0.95954, -0.21309, -0.98955),
    4: (-2.0756, -0.11491, -0.12048, -0.11624, -0.15831, -0.02828, 1.80965, 1.80944, 1.79735),
    10: (-2.20165, -0.2001, -0.14513, -0.13761, -0.12727, 0.00723, 1.93106, 1.94009, 1.94844),
    20: (-2.22166, -0.20919, -0.1456, -0.13821, -0.12969, 0.05523, 1.9472, 1.95591, 1.96323),
}
"""What DPMSolverMultistepScheduler of diffusers 0.42.1 makes of ``linspace(-2, 2, 9)`` where the
velocity at ``x`` and level ``t`` is ``sin(3 x + t / 500)``."""


class TestSolver:
    @pytest.mark.parametrize("count", GOLDEN)
    def test_as_diffusers(self, count: int) -> None:
        x, before = np.linspace(-2, 2, 9), np.zeros(9)
        for step in solver_steps(count):
            clean = step.alpha * x - step.sigma * np.sin(3 * x + step.level / 500)
            x, before = step.keep * x + step.gain * clean + step.lead * before, clean
        assert np.abs(x - GOLDEN[count]).max() < 2e-5

    @given(st.integers(1, 100))
    def test_from_noise_to_nothing_but_the_latent(self, count: int) -> None:
        steps = solver_steps(count)
        assert len(steps) == count
        assert steps[0].level == 999
        assert all(a.level > b.level for a, b in itertools.pairwise(steps))
        assert all(math.isclose(s.alpha**2 + s.sigma**2, 1) for s in steps)
        assert (steps[-1].keep, steps[-1].gain, steps[-1].lead) == (0.0, 1.0, 0.0)

    @given(st.integers(1, 30), st.floats(-3, 3))
    def test_a_latent_that_the_model_knows_is_found(self, count: int, latent: float) -> None:
        """The velocity that leads to one latent from everywhere."""
        x, before = 0.7, 0.0
        for step in solver_steps(count):
            velocity = (step.alpha * x - latent) / step.sigma
            clean = step.alpha * x - step.sigma * velocity
            x, before = step.keep * x + step.gain * clean + step.lead * before, clean
        assert math.isclose(x, latent, abs_tol=1e-9)

    @pytest.mark.parametrize("scale", [0.0, 1.0, 1.3])
    def test_the_head_as_transformers_calls_it(self, scale: float) -> None:
        head = stock_tiny().model.model.diffusion_head
        source = torch.Generator().manual_seed(3)
        positive, negative = torch.randn(2, 4, 32, generator=source)
        noise = torch.randn(4, 8, generator=source)
        scheduler = Scheduler()
        scheduler.set_timesteps(5)
        x = noise
        with torch.inference_mode():
            for level in scheduler.timesteps:
                times = level.repeat(4).float()
                with_text, without = head(x, times, positive), head(x, times, negative)
                guided = without + scale * (with_text - without)
                x = scheduler.step(guided, level, x).prev_sample
            ours = LatentSampler(tiny().model.model.diffusion_head).sample(
                positive, negative, noise, torch.full((4, 1), scale), 5
            )
        assert (ours - x).abs().max() <= 1e-5 * x.abs().max()

    def test_another_scheduler_is_refused(self) -> None:
        require_solver({"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"})
        with pytest.raises(ConfigError, match="epsilon"):
            require_solver({"prediction_type": "epsilon"})


class TestTokens:
    @staticmethod
    def _rules(**generation: object) -> TokenRules:
        return token_rules(audio=9, audio_begin=7, audio_end=8, end=3, generation=generation)

    @staticmethod
    def _chosen(rules: TokenRules, scores: list[list[float]], spoken: list[int]) -> list[int]:
        chooser = TokenChooser(rules, torch.device("cpu"))
        chosen: list[int] = chooser.choose(
            torch.tensor(scores), torch.tensor(spoken).float()
        ).tolist()
        return chosen

    def test_the_best_of_four(self) -> None:
        rules = self._rules()
        assert rules.legal == (3, 7, 8, 9)
        assert rules.stops == {3}
        scores = [*torch.eye(4).tolist(), [1.0] * 4]
        assert self._chosen(rules, scores, [0] * 5) == [3, 7, 8, 9, 3]

    def test_a_bias_of_single_tokens_counts(self) -> None:
        rules = self._rules(sequence_bias=[[[9], 2.0], [[7, 9], 50.0], [[400], 9.0]])
        scores = [[1.5, 0.0, 0.0, 0.0], [2.5, 0.0, 0.0, 0.0]]
        assert self._chosen(rules, scores, [0, 0]) == [9, 3]

    def test_the_end_grows_likelier(self) -> None:
        """Each row by what it has spoken itself, also where growth passes all numbers."""
        rules = self._rules(exponential_decay_length_penalty=[5, 2.0], eos_token_id=[3, 12])
        spoken = [*range(10), 500]
        chosen = self._chosen(rules, [[-1.0, 0.0, 0.0, 4.0]] * 11, spoken)
        assert chosen == [9] * 8 + [3] * 3  # -1 + 2**3 - 1 = 6 > 4 after 8 tokens

    @given(
        st.lists(
            st.tuples(
                st.lists(st.floats(-9, 9, width=32), min_size=4, max_size=4), st.integers(0, 40)
            ),
            min_size=1,
            max_size=6,
        ),
        st.floats(1, 3),
        st.floats(-5, 5),
    )
    def test_as_transformers_bends_scores(
        self, rows: list[tuple[list[float], int]], factor: float, bias: float
    ) -> None:
        rules = self._rules(
            exponential_decay_length_penalty=[5, factor], sequence_bias=[[[9], bias]]
        )
        chosen = self._chosen(rules, [scores for scores, _ in rows], [spoken for _, spoken in rows])
        for (scores, spoken), token in zip(rows, chosen, strict=True):
            ids = torch.zeros((1, spoken), dtype=torch.long)
            bent = torch.full((1, 10), float("-inf"))
            bent[0, list(rules.legal)] = torch.tensor(scores)
            bent = SequenceBiasLogitsProcessor([[[9], bias]])(ids, bent)
            bent = ExponentialDecayLengthPenalty((5, factor), [3], 0)(ids, bent)
            assert bent[0, token] >= bent.max() - 1e-4 * (1 + bent.max().abs())


class TestCodec:
    shape: ClassVar[dict[str, Any]] = {
        "num_filters": 4,
        "downsampling_ratios": [2, 3, 2],
        "depths": [1, 2, 1, 2],
        "kernel_size": 7,
        "layer_scale_init_value": 0.3,
        "initializer_range": 0.2,
    }
    """Frames of 12 samples, shorter at some stages than what a convolution remembers."""

    @classmethod
    def _halves(cls) -> tuple[Any, Any]:
        torch.manual_seed(5)
        decoder = VibeVoiceAcousticTokenizerConfig(hidden_size=6, **cls.shape).decoder_config
        encoder = VibeVoiceAcousticTokenizerEncoderConfig(hidden_size=5, **cls.shape)
        halves = AutoModel.from_config(decoder), AutoModel.from_config(encoder)
        for half in halves:
            for name, weight in half.named_parameters():
                if "norm" in name or "bias" in name:
                    torch.nn.init.normal_(weight, mean=0.5, std=0.3)
        return halves

    @staticmethod
    def _ours(halves: tuple[Any, Any], latents: torch.Tensor, count: int) -> list[torch.Tensor]:
        """Sound and meaning of some frames, one after another."""
        codec = FrameCodec(*halves)
        codec.past.ensure(latents.shape[1])
        frames = []
        for latent in latents:
            frames.append(codec.frame(latent, count))
            codec.past.commit(torch.ones(count, dtype=torch.bool))
        sound, meaning = (torch.stack(part, dim=1) for part in zip(*frames, strict=True))
        return [sound, meaning[:count]]

    def test_a_second_codec_takes_no_memory_for_weights(self) -> None:
        halves = self._halves()
        first, second = (
            [stage._weight.data_ptr() for stage in codec._say if isinstance(stage, Upsampling)]
            for codec in (FrameCodec(*halves), FrameCodec(*halves))
        )
        assert first == second != []

    @pytest.mark.parametrize("count", [1, 4, 11])
    def test_as_transformers_streams(self, count: int) -> None:
        halves = self._halves()
        latents = torch.randn((5, max(4, count), 6), generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            sound, meaning = self._ours(halves, latents, count)
            theirs = halves[0](latents[:, :count].permute(1, 2, 0)).audio[:, 0]
            understood = halves[1](theirs[:, None]).latents
        for one, other in ((sound.flatten(1), theirs), (meaning, understood)):
            assert one.shape == other.shape
            assert (one - other).abs().max() <= 1e-5 * other.abs().max()

    def test_in_sixteen_bits_as_near_as_transformers(self) -> None:
        halves = self._halves()
        latents = torch.randn((5, 4, 6), generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            exact = halves[0](latents.permute(1, 2, 0)).audio[:, 0]
            for half in halves:
                half.bfloat16()
            rough = latents.bfloat16()
            ours = self._ours(halves, rough, 4)[0].flatten(1).float()
            theirs = halves[0](rough.permute(1, 2, 0)).audio[:, 0].float()
        assert (ours - exact).norm() <= 1.2 * (theirs - exact).norm()


class TestPrompt:
    def test_roles_by_first_appearance(self) -> None:
        turns = turns_of(
            (Line("Zoe", "b", "One."), Line("Ada", "a", "Two."), Line("Zoe", "b", "Three."))
        )
        assert turns.lines == (("0", "One."), ("1", "Two."), ("0", "Three."))
        assert turns.voices == ("b", "a")

    @settings(max_examples=60)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(
                    ["<|vision_pad|>", "<|vision_start|>", "<|endoftext|>", "\n", " Speaker 1: ",
                     "\r", "\u2028", "\x85", "<", "|", ">", "<|", "|>", "<<||>>"]
                ),
                st.text(max_size=4),
            ),
            max_size=8,
        )
    )  # fmt: skip
    def test_text_can_not_leave_its_place(self, parts: list[str]) -> None:
        reads = processor()
        text = "a" + "".join(parts) + "b"
        turns = turns_of((Line("Ada", "v1", text), Line("Ben", "v2", "Hi.")))
        prompt = PromptWriter(reads).write(turns, lambda voice: {"v1": 5, "v2": 7}[voice])
        plain = turns_of((Line("Ada", "v1", "ab"), Line("Ben", "v2", "Hi.")))
        expected = PromptWriter(reads).write(plain, lambda voice: {"v1": 5, "v2": 7}[voice])
        assert prompt.ids[: prompt.shared] == expected.ids[: expected.shared]
        special = {*range(256, 260), reads.tokenizer.encode("\n")[0]}
        kinds = [[i for i in one.ids if i in special] for one in (prompt, expected)]
        assert kinds[0] == kinds[1]
        assert prompt.ids.count(reads.audio_token_id) == 12

    @given(st.text())
    def test_harmless_text_stays(self, text: str) -> None:
        assert harmless(harmless(text)) == harmless(text)
        assert "<|" not in harmless(text)
        assert len(harmless(text).splitlines()) <= 1


class TestMemory:
    small = ModelShape(layers=28, kv_heads=2, head_dim=128, number_bytes=2)

    def test_published_sizes(self) -> None:
        assert self.small.token_bytes == 28_672
        assert ModelShape(28, 4, 128, 2).token_bytes == 57_344

    @given(
        free=st.integers(0, 80 << 30),
        more=st.integers(0, 80 << 30),
        columns=st.integers(128, 8192),
        voice_s=st.floats(0, 30),
    )
    def test_what_fits_is_admitted_and_one_more_is_not(
        self, free: int, more: int, columns: int, voice_s: float
    ) -> None:
        total = free + more
        slots = slots_that_fit(self.small, free, total, columns, voice_s)
        voice_bytes = self.small.voice_bytes(voice_s)
        one = self.small.slot_bytes(columns)
        assert not slots or admits(free, total, voice_bytes + slots * one)
        assert not admits(free, total, voice_bytes + (slots + 1) * one)
        assert headroom_bytes(total) >= total / 10 - 1

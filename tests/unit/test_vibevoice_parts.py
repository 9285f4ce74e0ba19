"""Parts of the VibeVoice engine by themselves: solver, tokens, prompt, voices, memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import itertools

import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.vram import ModelShape, admits, headroom_bytes, slots_that_fit
from serve_app.engines.base import Line
from serve_app.engines.vibevoice_diffusion import LatentSampler, require_solver, solver_steps
from serve_app.engines.vibevoice_prompt import PromptWriter, harmless, turns_of
from serve_app.engines.vibevoice_tokens import TokenRules, token_rules
from serve_app.engines.vibevoice_voices import FileVoices
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

    def test_the_best_of_four(self) -> None:
        rules = self._rules()
        assert rules.legal == (3, 7, 8, 9)
        assert rules.stops == {3}
        for at, token in enumerate(rules.legal):
            assert rules.choose([float(place == at) for place in range(4)], 0) == token
        assert rules.choose([1.0, 1.0, 1.0, 1.0], 0) == 3

    def test_a_bias_of_single_tokens_counts(self) -> None:
        rules = self._rules(sequence_bias=[[[9], 2.0], [[7, 9], 50.0], [[400], 9.0]])
        assert rules.choose([1.5, 0.0, 0.0, 0.0], 0) == 9
        assert rules.choose([2.5, 0.0, 0.0, 0.0], 0) == 3

    def test_the_end_grows_likelier(self) -> None:
        rules = self._rules(exponential_decay_length_penalty=[5, 2.0], eos_token_id=[3, 12])
        scores = [-1.0, 0.0, 0.0, 4.0]
        chosen = [rules.choose(scores, spoken) for spoken in range(10)]
        assert chosen == [9] * 8 + [3] * 2  # -1 + 2**3 - 1 = 6 > 4 after 8 tokens


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


class TestVoices:
    def test_channels_are_mixed_and_rates_made_equal(self, tmp_path: Path) -> None:
        times = np.arange(2 * 48_000) / 48_000
        tone = np.sin(2 * np.pi * 440 * times)
        path = tmp_path / "stereo.flac"
        soundfile.write(path, np.stack((tone, 0 * tone), axis=1), 48_000)
        samples = FileVoices({"one": str(path)}).samples("one")
        assert samples.dtype == np.float32
        expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 24_000)
        assert samples.shape == expected.shape
        assert np.abs(samples - expected)[500:-500].max() < 1e-2

    @pytest.mark.parametrize(("seconds", "why"), [(0.4, "0.4 s"), (31.0, "31.0 s")])
    def test_too_short_or_too_long(self, seconds: float, why: str, tmp_path: Path) -> None:
        path = tmp_path / "voice.wav"
        soundfile.write(path, np.ones(int(8000 * seconds)) / 2, 8000)
        with pytest.raises(ConfigError, match=why):
            FileVoices({"one": str(path)}).samples("one")

    def test_no_sound_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "voice.wav"
        path.write_bytes(b"this is no sound")
        with pytest.raises(ConfigError, match="can't read"):
            FileVoices({"one": str(path)}).samples("one")
        with pytest.raises(ConfigError, match="can't read"):
            FileVoices({"one": str(tmp_path / "missing.wav")}).samples("one")


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

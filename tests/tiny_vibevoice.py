"""A VibeVoice of random weights, small enough to speak on one CPU thread in a moment.

It is saved and loaded like a real checkpoint and runs the same code. Its generation config makes it
speak (a bias on the audio token) and stop (the end's score grows with the length).
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    VibeVoiceAcousticTokenizerFeatureExtractor,
    VibeVoiceConfig,
    VibeVoiceForConditionalGeneration,
    VibeVoiceProcessor,
)

RATE_HZ = 24_000
HOP = 3200
STOP_AFTER = 10

_TEMPLATE = """
{%- set shown = namespace(roles=[]) -%}
{{- ' Transform the text provided by various speakers into speech output.\n' -}}
{%- for message in messages -%}
  {%- for part in message['content'] -%}
    {%- if part['type'] == 'audio' and message['role'] not in shown.roles -%}
      {%- if not shown.roles %}{{ ' Voice input:\n' }}{% endif -%}
      {%- set shown.roles = shown.roles + [message['role']] -%}
      {{- ' Speaker ' + message['role'] + ':<|vision_start|><|vision_pad|><|vision_end|>\n' -}}
    {%- endif -%}
  {%- endfor -%}
{%- endfor -%}
{{- ' Text input:\n' -}}
{%- for message in messages -%}
  {%- for part in message['content'] -%}
    {%- if part['type'] == 'text' -%}
      {{- ' Speaker ' + message['role'] + ': ' + part['text'] + '\n' -}}
    {%- endif -%}
  {%- endfor -%}
{%- endfor -%}
{{- ' Speech output:\n<|vision_start|>' -}}
"""


def _byte_symbols() -> list[str]:
    """The printable stand-in of each byte, as byte-level BPE names them."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in shown else next(spare)) for byte in range(256)]


def processor() -> VibeVoiceProcessor:
    """Reads bytes as tokens."""
    symbols = [*_byte_symbols(), "<|endoftext|>"]
    tokenizer = Qwen2Tokenizer(
        vocab={symbol: at for at, symbol in enumerate(symbols)}, merges=[], padding_side="left"
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"]}
    )
    extractor = VibeVoiceAcousticTokenizerFeatureExtractor(
        sampling_rate=RATE_HZ, pad_to_multiple_of=HOP
    )
    return VibeVoiceProcessor(extractor, tokenizer, chat_template=_TEMPLATE)


def model(
    reads: VibeVoiceProcessor,
    hidden: int,
    layers: int,
    spread: float,
    stop_after: int,
    *,
    tied: bool = False,
) -> VibeVoiceForConditionalGeneration:
    """Random weights of a fixed seed.

    Args:
        reads: Whose tokens it knows.
        hidden: Width of the language model.
        layers: Its layers.
        spread: Standard deviation of its weights; above 0.1 it is chaotic.
        stop_after: Tokens after which the end becomes likelier.
        tied: Score with the embeddings, as the 1.5B model does and the 7B does not.
    """
    end = reads.tokenizer.eos_token_id
    codec = {
        "num_filters": 4,
        "downsampling_ratios": [8, 20, 20],
        "depths": [1, 1, 1, 1],
        "kernel_size": 3,
        "layer_scale_init_value": 0.1,
        "initializer_range": 0.1,
    }
    config = VibeVoiceConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(reads.tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": tied,
            "initializer_range": spread,
            "bos_token_id": None,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        audio_config={"model_type": "vibevoice_acoustic_tokenizer", "hidden_size": 8, **codec},
        semantic_model_config={
            "model_type": "vibevoice_acoustic_tokenizer_encoder",
            "hidden_size": 16,
            **codec,
        },
        diffusion_head_config={
            "num_hidden_layers": 1,
            "intermediate_size": 2 * hidden,
            "frequency_embedding_size": 32,
        },
        pad_token_id=end,
        eos_token_id=end,
        audio_bos_token_id=reads.audio_bos_token_id,
        audio_eos_token_id=reads.audio_eos_token_id,
        audio_token_id=reads.audio_token_id,
    )
    torch.manual_seed(0)
    made = VibeVoiceForConditionalGeneration(config).eval()
    made.generation_config = GenerationConfig(
        do_sample=False,
        guidance_scale=1.3,
        eos_token_id=end,
        pad_token_id=end,
        sequence_bias=[[[reads.audio_token_id], 50.0]],
        exponential_decay_length_penalty=[stop_after, 1.5],
    )
    return made


@cache
def checkpoint(
    hidden: int = 32,
    layers: int = 2,
    spread: float = 0.1,
    stop_after: int = STOP_AFTER,
    *,
    tied: bool = False,
) -> Path:
    """A folder with a checkpoint, made once a process."""
    folder = Path(_scratch().name) / f"tiny-{hidden}-{layers}-{spread}-{stop_after}-{tied}"
    reads = processor()
    reads.save_pretrained(folder)
    model(reads, hidden, layers, spread, stop_after, tied=tied).save_pretrained(folder)
    return folder


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-vibevoice-")


def voice(seed: int, seconds: float = 1.2) -> NDArray[np.float32]:
    """Noise in place of a recording."""
    noise = np.random.default_rng(seed).standard_normal(int(RATE_HZ * seconds))
    return (0.05 * noise).astype(np.float32)


class ArrayVoices:
    """Four voices from memory."""

    def __init__(self, voices: dict[str, NDArray[np.float32]] | None = None) -> None:
        self.voices = voices or {f"v{at}": voice(at, 1.0 + at / 5) for at in range(1, 5)}
        self.asked: list[str] = []

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.voices)

    def samples(self, voice_id: str) -> NDArray[np.float32]:
        self.asked.append(voice_id)
        return self.voices[voice_id]

"""What happens before a segment's first frame: voices are encoded, the prompt is read.

A voice is encoded once, whatever it is called, and kept by the hash of its samples. The part of a
prompt that all segments with the same voices share is read once and its keys and values are kept.
The rest is always read behind it, whether it was kept or read just now: so a segment's numbers do
not depend on what was spoken before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache

from serve_app.core.audio import SAMPLE_RATE_HZ
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_prompt import Prompt, PromptWriter, Turns
from serve_app.engines.vibevoice_voices import VoiceSource, checked
from serve_app.errors import InputTooLongError

KEPT_VOICES: Final = 64
KEPT_PREFIXES: Final = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeysValues:
    """Of some columns: a tensor of shape ``(1, heads, columns, dim)`` a layer."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Prefill:
    """A prompt that has been read.

    Args:
        kept: Keys and values of its columns.
        hidden: State behind its last token, shape ``(hidden,)``.
        columns: Tokens in it.
    """

    kept: KeysValues
    hidden: Tensor
    columns: int


class _Kept:
    """The latest few of something that is costly to make."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: OrderedDict[bytes, object] = OrderedDict()

    def get(self, key: bytes, make: Callable[[], T]) -> T:
        if key in self._items:
            self._items.move_to_end(key)
        else:
            self._items[key] = make()
            if len(self._items) > self._bound:
                self._items.popitem(last=False)
        return self._items[key]  # type: ignore[return-value]

    def clear(self) -> None:
        self._items.clear()


class Reader:
    """Reads prompts with a model; for one thread.

    Args:
        loaded: The model.
        voices: Where recordings come from.
    """

    def __init__(self, loaded: LoadedModel, voices: VoiceSource) -> None:
        self._loaded, self._voices = loaded, voices
        self._writer = PromptWriter(loaded.processor)
        self._hashes: dict[str, bytes] = {}
        self._features = _Kept(KEPT_VOICES)
        self._prefixes = _Kept(KEPT_PREFIXES)

    def prompt(self, turns: Turns) -> Prompt:
        """The prompt of a segment; encodes voices that are new.

        Raises:
            ConfigError: A voice is no recording.
            InputTooLongError: It fills the whole context.
        """
        prompt = self._writer.write(turns, lambda voice: self._voice(voice).shape[0])
        if len(prompt.ids) >= self._loaded.context:
            raise InputTooLongError(
                f"a segment of {len(prompt.ids)} tokens; the model reads {self._loaded.context}; "
                "send shorter turns or shorter voices",
                "input",
            )
        return prompt

    def read(self, prompt: Prompt) -> Prefill:
        """Read a prompt."""
        shared, rest = prompt.ids[: prompt.shared], prompt.ids[prompt.shared :]
        prefix = None
        if shared:
            key = sha256(repr(shared).encode())
            for voice in prompt.voices:
                key.update(self._hash(voice))
            prefix = self._prefixes.get(
                key.digest(), lambda: self._run(self._shared_embeddings(prompt), None)
            ).kept
        return self._run(self._embed(rest), prefix)

    def begin(self) -> Prefill:
        """The start without text: the token that begins audio, alone."""
        return self._run(self._embed((self._loaded.rules.audio_begin,)), None)

    def forget(self) -> None:
        """Give memory back; everything is made again when it is needed."""
        self._features.clear()
        self._prefixes.clear()

    def _shared_embeddings(self, prompt: Prompt) -> Tensor:
        ids = prompt.ids[: prompt.shared]
        embeddings = self._embed(ids)
        places = [at for at, token in enumerate(ids) if token == self._loaded.rules.audio]
        embeddings[0, places] = torch.cat([self._voice(voice) for voice in prompt.voices])
        return embeddings

    def _embed(self, ids: Sequence[int]) -> Tensor:
        model = self._loaded.model
        tokens = torch.tensor([ids], device=self._loaded.device)
        embeddings: Tensor = model.get_input_embeddings()(tokens)
        return embeddings

    def _run(self, embeddings: Tensor, prefix: KeysValues | None) -> Prefill:
        cache = DynamicCache()
        start = 0
        if prefix is not None:
            start = prefix.keys[0].shape[2]
            for layer, (keys, values) in enumerate(zip(prefix.keys, prefix.values, strict=True)):
                cache.update(keys, values, layer)
        columns = start + embeddings.shape[1]
        positions = torch.arange(start, columns, device=embeddings.device)
        seen = torch.arange(columns, device=embeddings.device) <= positions[:, None]
        output = self._loaded.model.model.language_model(
            inputs_embeds=embeddings,
            attention_mask={"full_attention": seen[None, None]},
            position_ids=positions[None],
            past_key_values=cache,
            use_cache=True,
        )
        kept = KeysValues(
            [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers]
        )
        return Prefill(kept, output.last_hidden_state[0, -1].clone(), columns)

    def _hash(self, voice: str) -> bytes:
        if voice not in self._hashes:
            self._hashes[voice] = sha256(self._voices.samples(voice).tobytes()).digest()
        return self._hashes[voice]

    def _voice(self, voice: str) -> Tensor:
        return self._features.get(self._hash(voice), lambda: self._encode(voice))

    def _encode(self, voice: str) -> Tensor:
        """A voice as the language model hears it, shape ``(frames, hidden)``."""
        samples = checked(voice, self._voices.samples(voice))
        sound = self._loaded.processor.feature_extractor(samples, sampling_rate=SAMPLE_RATE_HZ)
        features: Tensor = self._loaded.model.model.get_audio_features(
            sound["input_values"].to(self._loaded.device, self._loaded.dtype),
            sound["padding_mask"].to(self._loaded.device),
            sample=False,
        ).pooler_output
        return features

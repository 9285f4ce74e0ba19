"""What happens before a segment's first frame: voices are encoded, the prompt is read.

A voice is encoded once, whatever it is called, and kept by the hash of its samples. The part of a
prompt that all segments with the same voices share is read once and its keys and values are kept.
The rest is always read behind it, whether it was kept or read just now: so a segment's numbers do
not depend on what was spoken before.

Reading may go piece by piece, so that the segments that are being spoken wait for a piece and not
for a whole prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import torch
from torch import Tensor
from transformers import DynamicCache

from serve_app.engines.vibevoice_encoded import EncodedVoices
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_prompt import Prompt, PromptWriter, Turns
from serve_app.engines.vibevoice_voices import VoiceSource
from serve_app.errors import InputTooLongError

KEPT_PREFIXES: Final = 8


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


class Reading:
    """A prompt that is being read, piece by piece.

    Args:
        pieces: Reads one piece each time it is advanced.
    """

    def __init__(self, pieces: Generator[None, None, Prefill]) -> None:
        self._pieces = pieces

    def advance(self) -> Prefill | None:
        """Read a piece; the prefill with the last one."""
        try:
            next(self._pieces)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        return None


class _Prefixes:
    """The latest used beginnings of prompts."""

    def __init__(self) -> None:
        self._items: OrderedDict[bytes, KeysValues] = OrderedDict()

    def get(self, key: bytes) -> KeysValues | None:
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, key: bytes, prefix: KeysValues) -> None:
        self._items[key] = prefix
        if len(self._items) > KEPT_PREFIXES:
            self._items.popitem(last=False)

    def clear(self) -> None:
        self._items.clear()


class Reader:
    """Reads prompts with a model; for one thread.

    Args:
        loaded: The model.
        voices: Where recordings come from.
        piece: Tokens read at once; None for all that can be. Segments that are being spoken wait
            for one piece at most. Another size may change last bits.
    """

    def __init__(
        self, loaded: LoadedModel, voices: VoiceSource, *, piece: int | None = None
    ) -> None:
        self._loaded, self._piece = loaded, piece
        self._voices = EncodedVoices(loaded, voices)
        self._writer = PromptWriter(loaded.processor)
        self._prefixes = _Prefixes()

    def prompt(self, turns: Turns) -> Prompt:
        """The prompt of a segment; nothing is computed for it yet.

        Raises:
            VoiceAudioError: A voice is no recording.
            InputTooLongError: It fills the whole context.
        """
        prompt = self._writer.write(turns, self._voices.frames)
        if len(prompt.ids) >= self._loaded.context:
            raise InputTooLongError(
                f"a segment of {len(prompt.ids)} tokens; the model reads {self._loaded.context}; "
                "send shorter turns or shorter voices",
                "input",
            )
        return prompt

    def new_voice_s(self, prompt: Prompt) -> float:
        """Seconds of the longest voice that reading *prompt* would encode; 0 if none is new."""
        return self._voices.new_s(prompt.voices)

    def read(self, prompt: Prompt) -> Prefill:
        """Read a prompt to its end; encodes voices that are new."""
        reading = self.reading(prompt)
        while (prefill := reading.advance()) is None:
            pass
        return prefill

    def reading(self, prompt: Prompt) -> Reading:
        """Begin to read a prompt; a voice that is new is a piece by itself."""
        return Reading(self._pieces(prompt))

    def begin(self) -> Prefill:
        """The start without text: the token that begins audio, alone."""
        return self._run(self._embed((self._loaded.rules.audio_begin,)), None)

    def forget(self) -> None:
        """Give memory back; everything is made again when it is needed."""
        self._voices.forget()
        self._prefixes.clear()

    def _pieces(self, prompt: Prompt) -> Generator[None, None, Prefill]:
        prefix = None
        if prompt.shared:
            key = self._key(prompt)
            prefix = self._prefixes.get(key)
            if prefix is None:
                embeddings = yield from self._shared_embeddings(prompt)
                prefix = (yield from self._run_pieces(embeddings, None)).kept
                self._prefixes.put(key, prefix)
                if self._piece is not None:
                    yield
        rest = self._embed(prompt.ids[prompt.shared :])
        return (yield from self._run_pieces(rest, prefix))

    def _key(self, prompt: Prompt) -> bytes:
        key = sha256(repr(prompt.ids[: prompt.shared]).encode())
        for voice in prompt.voices:
            key.update(self._voices.key(voice))
        return key.digest()

    def _shared_embeddings(self, prompt: Prompt) -> Generator[None, None, Tensor]:
        ids = prompt.ids[: prompt.shared]
        heard = []
        for voice in prompt.voices:
            new = self._voices.new_s((voice,)) > 0
            heard.append(self._voices.features(voice))
            if new and self._piece is not None:
                yield
        embeddings = self._embed(ids)
        places = [at for at, token in enumerate(ids) if token == self._loaded.rules.audio]
        embeddings[0, places] = torch.cat(heard)
        return embeddings

    def _run_pieces(
        self, embeddings: Tensor, prefix: KeysValues | None
    ) -> Generator[None, None, Prefill]:
        pieces = torch.split(embeddings, self._piece or embeddings.shape[1], dim=1)
        prefill = self._run(pieces[0], prefix)
        for piece in pieces[1:]:
            yield
            prefill = self._run(piece, prefill.kept)
        return prefill

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

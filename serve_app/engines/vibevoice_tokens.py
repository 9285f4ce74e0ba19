"""Which token comes next: the scores of the four legal ones, and what a checkpoint adds to them.

The language model of VibeVoice only ever says one of four things: another frame of audio, audio
begins, audio ends, the text is over. So four scores are computed instead of a vocabulary's.

A checkpoint's generation config may bend the scores. ``sequence_bias`` of single tokens and
``exponential_decay_length_penalty`` mean what transformers documents for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

_MOST_GROWTH: Final = 1e30
"""Of an end's score: more would only be infinite."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The legal tokens and their choice.

    Args:
        audio: Asks for a frame of audio.
        audio_begin: Starts a stretch of audio.
        stops: End the segment.
        legal: All that may be chosen, ascending.
        bias: Added to the score of each of ``legal``.
        decay: ``(start, factor)``: after ``start`` tokens the scores of ``stops`` grow by
            ``|score| * (factor ** (tokens - start) - 1)``; or None.
    """

    audio: int
    audio_begin: int
    stops: frozenset[int]
    legal: tuple[int, ...]
    bias: tuple[float, ...]
    decay: tuple[int, float] | None


class TokenChooser:
    """Chooses by the rules where the model runs, so that a frame needs no answer in its middle.

    Args:
        rules: See there.
        device: Where the scores will be.
    """

    def __init__(self, rules: TokenRules, device: torch.device) -> None:
        self._legal = torch.tensor(rules.legal, device=device)
        self._bias = torch.tensor(rules.bias, device=device) if any(rules.bias) else None
        self._decay = rules.decay
        self._ends = torch.tensor(
            [float(token in rules.stops) for token in rules.legal], device=device
        )

    def choose(self, scores: Tensor, spoken: Tensor) -> Tensor:
        """The best token of each row.

        Args:
            scores: One for each legal token, float32, shape ``(rows, legal)``.
            spoken: Tokens each row has chosen before, float32, shape ``(rows,)``.

        Returns:
            Tokens, shape ``(rows,)``.
        """
        if self._bias is not None:
            scores = scores + self._bias
        if self._decay is not None:
            start, factor = self._decay
            growth = (factor ** (spoken - start) - 1).clamp(0, _MOST_GROWTH)
            scores = torch.addcmul(scores, scores.abs(), growth[:, None] * self._ends)
        return self._legal[scores.argmax(dim=1)]


def token_rules(
    *,
    audio: int,
    audio_begin: int,
    audio_end: int,
    end: int,
    generation: Mapping[str, Any],
) -> TokenRules:
    """The rules of a checkpoint.

    Args:
        audio: Id of the token for a frame of audio; the next three likewise.
        audio_begin: See there.
        audio_end: See there.
        end: Of the text.
        generation: Its generation config.
    """
    legal = tuple(sorted({audio, audio_begin, audio_end, end}))
    stops = generation.get("eos_token_id")
    given = {end} if stops is None else {stops} if isinstance(stops, int) else set(stops)
    bias = dict.fromkeys(legal, 0.0)
    for sequence, value in generation.get("sequence_bias") or ():
        if len(sequence) == 1 and sequence[0] in bias:
            bias[sequence[0]] += float(value)
    decay = generation.get("exponential_decay_length_penalty")
    return TokenRules(
        audio=audio,
        audio_begin=audio_begin,
        stops=frozenset(given) & frozenset(legal),
        legal=legal,
        bias=tuple(bias[token] for token in legal),
        decay=(int(decay[0]), float(decay[1])) if decay else None,
    )

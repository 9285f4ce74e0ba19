"""Which token comes next: the scores of the four legal ones, and what a checkpoint adds to them.

The language model of VibeVoice only ever says one of four things: another frame of audio, audio
begins, audio ends, the text is over. So four scores are computed instead of a vocabulary's, and
the choice is made beside the card, with the one copy that a frame needs anyway.

A checkpoint's generation config may bend the scores. ``sequence_bias`` of single tokens and
``exponential_decay_length_penalty`` mean what transformers documents for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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

    def choose(self, scores: Sequence[float], spoken: int) -> int:
        """The best token.

        Args:
            scores: One for each of ``legal``.
            spoken: Tokens chosen before.
        """
        bent = [score + bias for score, bias in zip(scores, self.bias, strict=True)]
        if self.decay is not None and spoken > self.decay[0]:
            growth = self.decay[1] ** (spoken - self.decay[0]) - 1
            bent = [
                score + abs(score) * growth if token in self.stops else score
                for token, score in zip(self.legal, bent, strict=True)
            ]
        return self.legal[max(range(len(bent)), key=bent.__getitem__)]


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

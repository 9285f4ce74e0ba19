"""Voices as the language model hears them: each encoded once, whatever it is called.

Encoding a voice is the peak of a segment's start, so what comes out is kept on the card by the
hash of the recording, the latest used up to a bound of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from torch import Tensor

from serve_app.core.audio import SAMPLE_RATE_HZ
from serve_app.engines.lru import ByteLru
from serve_app.engines.vibevoice_load import FRAME_SAMPLES, LoadedModel
from serve_app.engines.vibevoice_voices import Samples, VoiceSource, checked

KEPT_BYTES: Final = 64 << 20
"""Encoded voices kept: 30 s take 0.7 MB with the 1.5B model in 16 bits, 1.6 MB with the 7B."""

_FACTS_BYTES: Final = 1 << 20
_FACT_BYTES: Final = 256


class EncodedVoices:
    """Encodes voices with a model; for one thread, under ``inference_mode``.

    Args:
        loaded: The model.
        voices: Where recordings come from.
        kept_bytes: Bound of what is kept on the card.
    """

    def __init__(
        self, loaded: LoadedModel, voices: VoiceSource, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._loaded, self._voices = loaded, voices
        self._features: ByteLru[bytes, Tensor] = ByteLru(
            kept_bytes, lambda kept: kept.numel() * kept.element_size()
        )
        # An id always means the same recording; its hash and length are asked for every segment.
        self._facts: ByteLru[str, tuple[bytes, int]] = ByteLru(
            _FACTS_BYTES, lambda _fact: _FACT_BYTES
        )

    def key(self, voice: str) -> bytes:
        """Hash of a voice's samples."""
        return self._fact(voice)[0]

    def frames(self, voice: str) -> int:
        """Frames that a voice has once it is encoded."""
        return -(-self._fact(voice)[1] // FRAME_SAMPLES)

    def new_s(self, voices: Iterable[str]) -> float:
        """Seconds of the longest of *voices* that would have to be encoded; 0 if none."""
        samples = [
            self._fact(voice)[1] for voice in voices if self._features.get(self.key(voice)) is None
        ]
        return max(samples, default=0) / SAMPLE_RATE_HZ

    def features(self, voice: str) -> Tensor:
        """A voice as the language model hears it, shape ``(frames, hidden)``.

        Raises:
            VoiceAudioError: The recording is nothing that a model may be given.
        """
        key = self.key(voice)
        kept = self._features.get(key)
        return self._features.put(key, self._encode(voice)) if kept is None else kept

    def forget(self) -> None:
        """Give the memory back."""
        self._features.clear()

    def _fact(self, voice: str) -> tuple[bytes, int]:
        known = self._facts.get(voice)
        if known is None:
            samples = self._samples(voice)
            known = self._facts.put(voice, (sha256(samples.tobytes()).digest(), samples.size))
        return known

    def _encode(self, voice: str) -> Tensor:
        sound = self._loaded.processor.feature_extractor(
            self._samples(voice), sampling_rate=SAMPLE_RATE_HZ
        )
        features: Tensor = self._loaded.model.model.get_audio_features(
            sound["input_values"].to(self._loaded.device, self._loaded.dtype),
            sound["padding_mask"].to(self._loaded.device),
            sample=False,
        ).pooler_output
        return features

    def _samples(self, voice: str) -> Samples:
        return checked(voice, self._voices.samples(voice))

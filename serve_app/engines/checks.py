"""What every engine refuses before it starts."""

from __future__ import annotations

from collections.abc import Iterable

from serve_app.engines.base import Line, Voice
from serve_app.errors import UnknownVoiceError


def require_voices(lines: Iterable[Line], voices: Iterable[Voice]) -> None:
    """Refuse lines in a voice that the engine does not have.

    Raises:
        UnknownVoiceError: Names the voice, the speaker and the voices there are.
    """
    known = [voice.id for voice in voices]
    for line in lines:
        if line.voice not in known:
            raise UnknownVoiceError(
                f"no voice {line.voice!r} for {line.speaker!r}; this engine has {', '.join(known)}",
                "voice",
            )

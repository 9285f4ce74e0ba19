"""The segments of a check: a script cut into bites, spoken again with other seeds as often as
needed."""

from __future__ import annotations

from serve_app.core.casting import cast
from serve_app.core.estimate import TURN_S, speech_s
from serve_app.core.script import Script, parse
from serve_app.core.segment import pieces
from serve_app.engines.base import EngineInfo, Line, SpeakTask
from serve_app.errors import ConfigError


def check_tasks(text: str, info: EngineInfo, count: int, segment_s: float) -> tuple[SpeakTask, ...]:
    """So many segments of a script, each with a seed of its own.

    Args:
        text: The script.
        info: Whose voices speak.
        count: Segments wanted, at least 1.
        segment_s: Estimated seconds that no segment exceeds, at least 1.

    Raises:
        InvalidInputError: The script can't be read.
        ConfigError: The engine has no voice.
    """
    script = parse(text)
    voices = {voice.id: voice.name for voice in info.voices}
    if not voices and info.test_voice is not None:
        voices = {info.test_voice: info.test_voice}
    if not voices:
        raise ConfigError("the engine has no voice; name recordings in its options", "engine")
    chosen = cast(script.speakers, voices)
    bites = _bites(script, chosen, segment_s)
    return tuple(
        SpeakTask(key=f"check-{at}", lines=lines, seed=at, est_s=est_s)
        for at in range(count)
        for lines, est_s in [bites[at % len(bites)]]
    )


def _bites(
    script: Script, voices: dict[str, str], segment_s: float
) -> list[tuple[tuple[Line, ...], float]]:
    bites: list[tuple[tuple[Line, ...], float]] = []
    lines: tuple[Line, ...] = ()
    filled_s = 0.0
    for turn in script.turns:
        for paragraph in turn.paragraphs:
            for text, _ in pieces(paragraph.text, segment_s):
                est_s = speech_s(text) + TURN_S
                if lines and filled_s + est_s > segment_s:
                    bites.append((lines, filled_s))
                    lines, filled_s = (), 0.0
                lines += (Line(turn.speaker, voices[turn.speaker], text.strip()),)
                filled_s += est_s
    return [*bites, (lines, filled_s)]

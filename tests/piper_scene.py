"""The demo's scene as the service's fan-out would send it to a piper engine."""

from __future__ import annotations

from pathlib import Path

from serve_app.core.casting import cast
from serve_app.core.plan import plan
from serve_app.core.script import parse
from serve_app.core.stitch import pause_s
from serve_app.engines.base import Engine, Line, SpeakTask

SCENE = (Path(__file__).parents[1] / "configs" / "examples" / "scene.txt").read_text("utf-8")


def tasks(engine: Engine, text: str = SCENE) -> list[SpeakTask]:
    """The scene's segments, in order, with the voices and seeds that a request gets."""
    script = parse(text)
    voices = cast(script.speakers, {voice.id: voice.name for voice in engine.info.voices})
    made = []
    for item in plan(script, voices=voices, revision=engine.info.revision).segments:
        segment = item.segment
        lines = tuple(
            Line(said.speaker, voices[said.speaker], said.text, pause_s(said.before) if n else 0.0)
            for n, said in enumerate(segment.utterances)
        )
        made.append(SpeakTask(item.key, lines, item.seed, segment.est_s, 1.0, (), segment.index))
    return made

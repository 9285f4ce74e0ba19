"""How much of the demo's scene a recogniser understands of piper alone, without the service.

Its figures are what ``tests/integration/test_words.py`` holds the service against; they change with
``PLAN_VERSION`` (other seeds) and with the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from serve_app.core.plan import PLAN_VERSION
from serve_app.core.script import parse
from serve_app.engines.base import Chunk
from serve_app.engines.registry import create
from tests.asr import hear, recall_by_tenths, word_recall
from tests.piper_scene import SCENE, tasks


async def _raw_scene() -> bytes:
    """The scene's segments with the voices and seeds that a request gets, end to end."""
    engine = create("piper", {"slots": 1})
    try:
        return b"".join(
            [
                item.pcm
                for task in tasks(engine)
                async for item in engine.speak(task)
                if isinstance(item, Chunk)
            ]
        )
    finally:
        await engine.close()


def run() -> Sequence[str]:
    turns = parse(SCENE).turns
    written = " ".join(paragraph.text for turn in turns for paragraph in turn.paragraphs)
    heard = hear(np.frombuffer(asyncio.run(_raw_scene()), "<i2"))
    tenths = ", ".join(f"{recall:.3f}" for recall in recall_by_tenths(written, heard))
    return [
        f"raw piper, plan version {PLAN_VERSION}: word recall {word_recall(written, heard):.3f}",
        f"by tenths: {tenths}",
    ]

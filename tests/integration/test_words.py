"""No word lost: a recogniser hears the end of a scene from the service as from the raw engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest

from serve_app.core.script import parse
from serve_app.engines.base import Chunk
from serve_app.engines.registry import create
from tests.asr import hear, recall_by_tenths, word_recall
from tests.integration.conftest import Cluster
from tests.piper_scene import SCENE, tasks

# All four speakers; its longest turn and its shortest ones.
END = "\n".join(SCENE.splitlines()[18:])

pytestmark = [pytest.mark.integration, pytest.mark.asr, pytest.mark.timeout(300)]


def raw_scene() -> np.ndarray:
    """The end's segments by the engine alone, with the same voices and seeds, end to end."""
    engine = create("piper", {"slots": 2})

    async def spoken() -> list[bytes]:
        async def one(number: int) -> bytes:
            return b"".join(
                [item.pcm async for item in engine.speak(made[number]) if isinstance(item, Chunk)]
            )

        made = tasks(engine, END)
        try:
            return await asyncio.gather(*(one(number) for number in range(len(made))))
        finally:
            await engine.close()

    return np.frombuffer(b"".join(asyncio.run(spoken())), "<i2")


def service_scene(url: str) -> np.ndarray:
    body = {"model": "tts-1", "voice": "auto", "response_format": "pcm", "input": END}
    answer = httpx.post(f"{url}/v1/audio/speech", json=body, timeout=200)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2")


def test_no_word_is_lost_on_the_way(cluster: Cluster, tmp_path: Path) -> None:
    written = " ".join(paragraph.text for turn in parse(END).turns for paragraph in turn.paragraphs)
    served, raw = hear(service_scene(cluster.piper_url)), hear(raw_scene())
    (tmp_path / "served.txt").write_text(served)
    (tmp_path / "raw.txt").write_text(raw)
    assert word_recall(written, raw) > 0.7, "the recogniser itself does not hear the raw engine"
    assert word_recall(written, served) >= word_recall(written, raw) - 0.03
    tenths = zip(recall_by_tenths(written, served), recall_by_tenths(written, raw), strict=True)
    assert [round(ours - theirs, 3) for ours, theirs in tenths if ours < theirs - 0.15] == []

"""No word lost: a recogniser hears the demo's scene from the service as from the raw engine.

The raw engine is not heard here, which would take as long again: what the recogniser understood of
it stands below, with the same segments, voices and seeds (``python -m tests.bench raw-words``).
"""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from serve_app.core.plan import PLAN_VERSION
from serve_app.core.script import parse
from tests.asr import hear, recall_by_tenths, word_recall
from tests.integration.conftest import Cluster
from tests.piper_scene import SCENE

RAW_PLAN_VERSION = 2
RAW_RECALL = 0.889
RAW_TENTHS = (0.914, 0.891, 0.969, 0.937, 0.913, 0.843, 0.850, 0.843, 0.882, 0.850)

pytestmark = [pytest.mark.integration, pytest.mark.asr, pytest.mark.timeout(400)]


def service_scene(url: str) -> np.ndarray:
    body = {"model": "tts-1", "voice": "auto", "response_format": "pcm", "input": SCENE}
    answer = httpx.post(f"{url}/v1/audio/speech", json=body, timeout=300)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2")


def test_no_word_is_lost_on_the_way(cluster: Cluster, tmp_path: Path) -> None:
    assert PLAN_VERSION == RAW_PLAN_VERSION, "hear the raw engine again: its seeds have changed"
    turns = parse(SCENE).turns
    written = " ".join(paragraph.text for turn in turns for paragraph in turn.paragraphs)
    served = hear(service_scene(cluster.piper_url))
    (tmp_path / "served.txt").write_text(served)
    assert word_recall(written, served) >= RAW_RECALL - 0.03
    tenths = zip(recall_by_tenths(written, served), RAW_TENTHS, strict=True)
    assert [round(ours - theirs, 3) for ours, theirs in tenths if ours < theirs - 0.15] == []

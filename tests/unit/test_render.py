"""What may be rendered in an event loop, and that it makes no difference to the bytes."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.core.audio import BYTES_PER_S
from serve_app.core.segment import Boundary
from serve_app.encode import FORMATS, open_encoder
from serve_app.engines.base import Chunk
from serve_app.pieces import Part, PartAudio
from serve_app.render import Renderer

PART = Part("0" * 32, 0, Boundary.START, None)


def renderer(name: str, speed: float = 1.0) -> Renderer:
    return Renderer({}, open_encoder(name), None, speed, light=FORMATS[name].light)


def audio(seconds: float) -> PartAudio:
    samples = np.random.default_rng(5).integers(-9000, 9000, int(seconds * BYTES_PER_S) // 2)
    return PartAudio(PART, Chunk(samples.astype("<i2").tobytes(), None))


@pytest.mark.parametrize("name", FORMATS)
def test_only_little_is_rendered_in_an_event_loop(name: str) -> None:
    light = name in {"wav", "pcm"}
    assert renderer(name).is_brief((audio(0.2), audio(2))) is light
    assert renderer(name).is_brief() is light
    assert not renderer(name).is_brief((audio(2), audio(2)))
    assert not renderer(name, speed=1.5).is_brief((audio(0.2),))

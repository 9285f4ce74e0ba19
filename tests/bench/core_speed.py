"""How fast the pure parts are on one core: plan, stitch, encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ
from serve_app.core.plan import plan
from serve_app.core.script import parse
from serve_app.core.segment import Boundary
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.encode import FORMATS, open_encoder
from tests.long_text import ninety_minutes

MINUTES = 10
SEGMENT_S = 60


def run() -> Sequence[str]:
    text = ninety_minutes()
    script = parse(text)
    voices = dict.fromkeys(script.speakers, "v")
    plan_s = _timed(lambda: plan(parse(text), voices=voices, revision="1"))
    lines = [f"plan of ninety minutes ({len(text)} characters): {plan_s:.2f} s"]
    signal = np.random.default_rng(1).normal(0, 3000, SEGMENT_S * SAMPLE_RATE_HZ).astype("<i2")
    pieces = [signal] * (MINUTES * 60 // SEGMENT_S)
    lines.append(_speed("stitch", lambda: _stitch(pieces)))
    lines += [_speed(name, lambda name=name: _encode(name, pieces)) for name in FORMATS]  # type: ignore[misc]
    return lines


def _stitch(pieces: list[np.ndarray]) -> None:
    stitcher = Stitcher(StitchRules(), {})
    for piece in pieces:
        stitcher.begin(Boundary.SENTENCE, None)
        for start in range(0, len(piece), SAMPLE_RATE_HZ):
            stitcher.feed(piece[start : start + SAMPLE_RATE_HZ], "v")
        stitcher.end()
    stitcher.finish(None)


def _encode(name: str, pieces: list[np.ndarray]) -> None:
    encoder = open_encoder(name)
    for piece in pieces:
        encoder.encode(piece)
    encoder.close()


def _timed(work: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def _speed(name: str, work: Callable[[], object]) -> str:
    best_s = min(_timed(work) for _ in range(3))
    return f"{name:8} {MINUTES * 60 / best_s:8.0f} x real time"

"""How fast a signal is planned, stitched, limited, measured and encoded, in CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ
from serve_app.core.plan import plan
from serve_app.core.script import parse
from serve_app.core.segment import Boundary
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.encode import FORMATS, open_encoder
from serve_app.encode_file import FILE_FORMATS, write_file
from serve_app.loudness import limited, measure
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
    lines.append(_speed("limiter, idle", lambda: _limit(pieces, 0.0)))
    lines.append(_speed("limiter, busy", lambda: _limit(pieces, 12.0)))
    lines.append(_speed("loudness", lambda: measure(pieces)))
    lines.append(_speed("both", lambda: measure(limited(pieces, 12.0, -1.0))))
    lines += [_speed(name, partial(_encode, name, pieces)) for name in FORMATS]
    lines += [_speed(f"{name} file", partial(_write, name, pieces)) for name in FILE_FORMATS]
    return lines


def _limit(pieces: list[np.ndarray], gain_db: float) -> None:
    for _ in limited(pieces, gain_db, -1.0):
        pass


def _write(name: str, pieces: list[np.ndarray]) -> None:
    with TemporaryDirectory() as folder:
        write_file(Path(folder) / "a", name, pieces)


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
    begun_s = time.process_time()
    work()
    return time.process_time() - begun_s


def _speed(name: str, work: Callable[[], object]) -> str:
    best_s = min(_timed(work) for _ in range(3))
    return f"{name:13} {MINUTES * 60 / best_s:8.0f} x real time"

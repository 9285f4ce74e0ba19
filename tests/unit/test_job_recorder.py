"""A take that is cancelled while its thread still works: nothing is freed twice."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np

from serve_app.core.plan import PlannedSegment
from serve_app.core.segment import Boundary, Utterance, make_segment
from serve_app.engines.base import Chunk
from serve_app.jobs.recorder import Recorder

ROUNDS = 60


def close_and_abort_at_once() -> None:
    """Both ends of a recorder in two threads, again and again."""
    said = (Utterance("A", "Hello there, my friend.", Boundary.START),)
    planned = PlannedSegment(make_segment(0, said, None), "k" * 32, 0)
    pcm = np.random.default_rng(0).normal(0, 3000, 24_000 * 8).astype("<i2").tobytes()
    for _ in range(ROUNDS):
        recorder = Recorder(planned)
        recorder.add([Chunk(pcm)])
        together = threading.Barrier(2)

        def close(recorder: Recorder = recorder, together: threading.Barrier = together) -> None:
            together.wait()
            recorder.close("stop", wall_s=1.0, replica="r", card=None, revision="1")

        def abort(recorder: Recorder = recorder, together: threading.Barrier = together) -> None:
            together.wait()
            recorder.abort()

        threads = [threading.Thread(target=close), threading.Thread(target=abort)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_closing_and_letting_go_at_once_frees_the_encoder_once() -> None:
    # A double free kills its process: that shall not be this one.
    command = f"from {__name__} import close_and_abort_at_once as both; both()"
    ended = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=100, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")

"""The voice as ONNX Runtime runs it, with noise that comes from outside."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serve_app.engines.piper_graph import DURATION_NOISE, FRAME_NOISE, NoiseInput
from serve_app.engines.workers import StopSignal
from serve_app.errors import EngineCrashedError, EngineError, EngineMemoryError

FRAMES_PER_ID: Final = 16
"""Frames of noise brought for each phoneme id; speech needs 2 to 4, more is read again."""


class PiperModel:
    """A voice's session; one object serves many threads at once.

    Each run stays on its caller's thread: more threads inside a run would change the bytes.

    Args:
        model: The voice with noise inputs, see :mod:`serve_app.engines.piper_graph`.
        noise_scale: How much the sound varies.
        noise_width: How much the durations vary.
    """

    def __init__(self, model: bytes, noise_scale: float, noise_width: float) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # keeps memory for every length ever spoken
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._noise_scale, self._noise_width = noise_scale, noise_width
        self.runtime_version = version("onnxruntime")

    def run(
        self, ids: Sequence[int], *, length_scale: float, key: int, options: Any
    ) -> NDArray[np.float32]:
        """Speak phoneme ids.

        Args:
            ids: Phoneme ids of one breath.
            length_scale: How long the phonemes last; 1 is the voice's own pace.
            key: Source of all noise, 128 bits.
            options: From :func:`run_options`.

        Returns:
            Samples at the voice's rate, shape ``(n,)``, full scale -1..1.

        Raises:
            EngineMemoryError: No memory for this breath.
            EngineError: ONNX Runtime failed, or was stopped.
        """
        dice = np.random.Generator(np.random.Philox(key=key))
        feed = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array(
                [self._noise_scale, length_scale, self._noise_width], dtype=np.float32
            ),
            DURATION_NOISE.name: _noise(dice, DURATION_NOISE, len(ids)),
            FRAME_NOISE.name: _noise(dice, FRAME_NOISE, len(ids) * FRAMES_PER_ID),
        }
        try:
            (audio,) = self._session.run(["output"], feed, options)
        except MemoryError as error:
            raise EngineMemoryError(f"no memory to speak {len(ids)} phoneme ids") from error
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on {len(ids)} phoneme ids: {error}") from error
        samples: NDArray[np.float32] = audio.reshape(-1)
        if samples.size == 0:
            raise EngineCrashedError(f"the voice gave no samples for {len(ids)} phoneme ids")
        return samples


def run_options(stop: StopSignal) -> Any:
    """Options that end a run between two nodes of the graph, within milliseconds, at *stop*."""
    options = onnxruntime.RunOptions()
    stop.on_stop(lambda: setattr(options, "terminate", True))
    return options


def noise_key(seed: int, index: int, ids: Sequence[int]) -> int:
    """128 bits that depend on the seed, the breath's place in its task and what it says."""
    content = np.array([seed, index, *ids], dtype="<u8").tobytes()
    return int.from_bytes(blake2b(content, digest_size=16).digest(), "little")


def _noise(dice: np.random.Generator, noise: NoiseInput, length: int) -> NDArray[np.float32]:
    return dice.standard_normal((1, noise.channels, length), dtype=np.float32)

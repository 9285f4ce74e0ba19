"""The surgery that takes the dice out of a piper voice.

A piper voice (VITS) draws normal noise in two places inside its ONNX graph, from a generator that
can't be seeded once the session lives. Here each ``RandomNormalLike`` becomes a graph input, read
cyclically along its last axis::

    x --> RandomNormalLike --> y        x --> Shape --> length --> Range --> Mod --> Gather --> y
                                        noise -------> length ----------------^       ^
                                        noise ----------------------------------------+

Cyclically, because the number of frames is known only inside the graph: the caller brings enough
noise for any plausible sentence, and an implausible one still gets its sound.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serve_app.errors import ConfigError


class NoiseInput(NamedTuple):
    """A graph input of shape ``(1, channels, n)``, float32, any n >= 1."""

    name: str
    channels: int


DURATION_NOISE: Final = NoiseInput("duration_noise", 2)
"""One value a phoneme id decides how long it lasts."""

FRAME_NOISE: Final = NoiseInput("frame_noise", 192)
"""One value a frame and channel decides how it sounds."""

_DICE: Final = {"/dp/RandomNormalLike": DURATION_NOISE, "/RandomNormalLike": FRAME_NOISE}


def with_noise_inputs(model: bytes) -> bytes:
    """Replace both random nodes of a voice by graph inputs.

    Args:
        model: A serialised piper voice.

    Returns:
        The same voice with the inputs :data:`DURATION_NOISE` and :data:`FRAME_NOISE`.

    Raises:
        ConfigError: The graph draws its noise in other places.
    """
    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    found = sorted(node.name for node in graph.node if node.op_type == "RandomNormalLike")
    if found != sorted(_DICE):
        raise ConfigError(
            f"the voice draws noise in {found}, expected {sorted(_DICE)}; "
            "use a voice that piper exported in its medium quality"
        )
    nodes: list[Any] = []
    for node in graph.node:
        nodes.extend(_reader(node) if node.name in _DICE else [node])
    del graph.node[:]
    graph.node.extend(nodes)
    constants = {"noise_zero": 0, "noise_one": 1, "noise_axis": 2}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        for name, value in constants.items()
    )
    graph.input.extend(
        helper.make_tensor_value_info(noise.name, TensorProto.FLOAT, [1, noise.channels, None])
        for noise in _DICE.values()
    )
    serialised: bytes = proto.SerializeToString()
    return serialised


def _reader(node: Any) -> list[Any]:
    """The nodes that read an input instead of drawing what *node* draws."""
    noise = _DICE[node.name].name

    def length_of(tensor: str, into: str) -> list[Any]:
        return [
            helper.make_node("Shape", [tensor], [f"{into}_shape"]),
            helper.make_node("Gather", [f"{into}_shape", "noise_axis"], [into], axis=0),
        ]

    return [
        *length_of(node.input[0], f"{noise}_wanted"),
        *length_of(noise, f"{noise}_length"),
        helper.make_node(
            "Range", ["noise_zero", f"{noise}_wanted", "noise_one"], [f"{noise}_count"]
        ),
        helper.make_node("Mod", [f"{noise}_count", f"{noise}_length"], [f"{noise}_index"]),
        helper.make_node("Gather", [noise, f"{noise}_index"], list(node.output), axis=2),
    ]

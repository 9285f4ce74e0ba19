"""How weights are held: int8 where it is asked for, and compiled where it is asked for.

Both are off by default, for neither was measured on a card. Only the language model is held in
int8: it has most of the weights, while the diffusion head and the codec make the sound itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final, Literal

import transformers

from serve_app.errors import ConfigError

Int8 = Literal["torchao", "bitsandbytes"]

_KEPT: Final = [
    "lm_head",
    "model.audio_tower",
    "model.semantic_tokenizer_encoder",
    "model.diffusion_head",
    "model.multi_modal_projector",
    "model.semantic_connector",
]
"""Parts that stay as they are."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"torchao": ("torchao",), "bitsandbytes": ("bitsandbytes", "accelerate")}
)


def int8_arguments(int8: Int8 | None, device: str) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for weights in int8; none where it isn't asked for.

    torchao rounds the weights alone. bitsandbytes also rounds what is multiplied with them, row
    by row; its rule for outliers looks at all rows together and is switched off, so that a segment
    does not depend on who is spoken beside it.

    Args:
        int8: Who does it.
        device: Where the model will be.

    Raises:
        ConfigError: A package is missing; the message names it.
    """
    if int8 is None:
        return {}
    missing = [package for package in _NEEDED[int8] if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"int8: {int8} needs the package {' and '.join(map(repr, missing))}; install it with "
            f"pip install {' '.join(missing)}",
            "engine",
        )
    made: Callable[[], Any] = _torchao if int8 == "torchao" else _bitsandbytes
    # bitsandbytes can't move what it has rounded.
    placed = {"device_map": {"": device}} if int8 == "bitsandbytes" else {}
    return {"quantization_config": made(), **placed}


def compile_parts(model: Any) -> None:
    """Have torch compile what all rows pass without a cache, each kind of block once.

    The first frames of a shape then take minutes on a CPU. Attention is left out: it writes into
    slots of ours, which would be compiled anew for every layer.
    """
    parts = model.model
    blocks = [layer.mlp for layer in parts.language_model.layers]
    for block in (*blocks, *(layer.ffn for layer in parts.diffusion_head.layers)):
        block.compile(dynamic=True)


def _torchao() -> Any:
    rounding = import_module("torchao.quantization").Int8WeightOnlyConfig()
    return transformers.TorchAoConfig(rounding, modules_to_not_convert=_KEPT)


def _bitsandbytes() -> Any:
    return transformers.BitsAndBytesConfig(
        load_in_8bit=True, llm_int8_skip_modules=_KEPT, llm_int8_threshold=0.0
    )

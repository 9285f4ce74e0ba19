"""Whether a checkpoint is on this machine, whole, and how large it is; without torch.

A folder is judged by its files' own heads: a safetensors file begins with the length of a JSON
object that tells where each tensor lies, so a file that was cut off is found without reading it.
The hub's cache is found as ``huggingface_hub`` documents it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from serve_app.core.machine import Weights
from serve_app.core.vram import ModelShape

_NUMBER_BYTES: Final[Mapping[str, int]] = {"F32": 4, "BF16": 2, "F16": 2}
_LARGEST_HEAD: Final = 100 << 20
_INDEX: Final = "model.safetensors.index.json"
_ONE_FILE: Final = "model.safetensors"
_LAYERS: Final = "language_model.layers."
_PROCESSOR: Final = ("processor_config.json", "preprocessor_config.json")


class DamagedError(ValueError):
    """A checkpoint that can't be loaded, and why."""


def find_weights(model: str, revision: str | None, environment: Mapping[str, str]) -> Weights:
    """Look for a checkpoint as the engine will.

    Args:
        model: Folder, or name on the hub.
        revision: Commit on the hub.
        environment: Variables that move the hub's cache.
    """
    weights = Weights(model, revision)
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if not weights.named_on_hub:
            return replace(weights, problem="there is no such folder")
        if revision is None:
            problem = "no such folder, and the config pins no revision of a hub model"
            return replace(weights, problem=problem)
        snapshot = _cached(hub_cache(environment), model, revision)
        if snapshot is None:
            return replace(weights, problem=f"not in {hub_cache(environment)}")
        folder = snapshot
    try:
        return _examined(replace(weights, folder=str(folder)), folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error) if isinstance(error, DamagedError) else f"unreadable: {error!r}"
        return replace(weights, folder=str(folder), problem=why)


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Folder of the hub's cache."""
    if given := environment.get("HF_HUB_CACHE"):
        return Path(given).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = environment.get("XDG_CACHE_HOME", "~/.cache")
    return Path(cache).expanduser() / "huggingface" / "hub"


def _cached(cache: Path, model: str, revision: str) -> Path | None:
    """A model's snapshot; *revision* may be a branch, for which the cache keeps its commit."""
    repository = cache / f"models--{model.replace('/', '--')}"
    reference = repository / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _examined(weights: Weights, folder: Path) -> Weights:
    config = _json(folder / "config.json")
    if config.get("model_type") != "vibevoice" or "text_config" not in config:
        raise DamagedError(
            f"config.json is of {config.get('model_type')!r} in another layout; take a checkpoint "
            "for transformers (its name ends in -hf)"
        )
    if not any((folder / name).is_file() for name in _PROCESSOR):
        raise DamagedError(f"{_PROCESSOR[0]} is missing")
    files = _files(folder)
    sizes = [_stored(folder / name) for name in files]
    number_bytes = max((width for _, width, _ in sizes), default=2)
    return replace(
        weights,
        weights_bytes=sum(size for size, _, _ in sizes),
        layers_bytes=sum(layers for _, _, layers in sizes),
        shape=_shape(config["text_config"], number_bytes),
    )


def _files(folder: Path) -> list[str]:
    if (folder / _INDEX).is_file():
        return sorted(set(_json(folder / _INDEX)["weight_map"].values()))
    return [_ONE_FILE]


def _stored(path: Path) -> tuple[int, int, int]:
    """Bytes of a file's tensors, of the numbers that most are made of, and of those that int8
    rounds: the matrices of the language model's layers."""
    if not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LARGEST_HEAD
        if length >= min(size, _LARGEST_HEAD):
            raise DamagedError(f"{path.name} is no safetensors file")
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    end = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
    if size != 8 + length + end:
        raise DamagedError(f"{path.name} has {size} bytes instead of {8 + length + end}")
    by_width: dict[int, int] = {}
    layers = 0
    for name, tensor in tensors.items():
        begin, stop = tensor["data_offsets"]
        width = _NUMBER_BYTES.get(tensor["dtype"], 2)
        by_width[width] = by_width.get(width, 0) + stop - begin
        if _LAYERS in name and len(tensor["shape"]) == 2:
            layers += stop - begin
    return end, max(by_width, key=lambda width: by_width[width], default=2), layers


def _shape(text: Mapping[str, Any], number_bytes: int) -> ModelShape:
    heads = int(text["num_attention_heads"])
    return ModelShape(
        layers=int(text["num_hidden_layers"]),
        kv_heads=int(text["num_key_value_heads"]),
        head_dim=int(text.get("head_dim") or int(text["hidden_size"]) // heads),
        number_bytes=number_bytes,
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise DamagedError(f"{path.name} holds no object")
    return found

"""Loading a VibeVoice checkpoint: from a folder, or from the hub with a pinned revision.

The code that loads real weights is the code that the tests run with random ones. A checkpoint with
weights missing is refused: transformers would fill them with random numbers and only warn.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from platform import machine
from typing import Any, Final

import torch
import transformers
from transformers import AutoProcessor, VibeVoiceForConditionalGeneration

from serve_app.core.machine import Weights
from serve_app.core.vram import ModelShape
from serve_app.engines.base import CardMemory
from serve_app.engines.vibevoice_diffusion import require_solver
from serve_app.engines.vibevoice_tokens import TokenRules, token_rules
from serve_app.engines.vibevoice_weights import Int8, compile_parts, int8_arguments
from serve_app.errors import ConfigError

logger = logging.getLogger(__name__)

DTYPES: Final[Mapping[str, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
FRAME_SAMPLES: Final = 3200
_SAMPLE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where weights are and how they are used.

    Args:
        model: A folder, or a name on the hub.
        revision: Commit on the hub; required for a name.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: One of :data:`DTYPES`.
        int8: Who holds the language model's weights in int8; None keeps them in *dtype*.
        compiled: Have torch compile parts of it.
    """

    model: str
    revision: str | None
    device: str
    dtype: str
    int8: Int8 | None = None
    compiled: bool = False

    @property
    def fetch_command(self) -> str:
        """The command that brings the weights."""
        return Weights(self.model, self.revision).fetch_command


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to speak, shared by whoever runs it; nothing here changes.

    Args:
        model: transformers' ``VibeVoiceForConditionalGeneration``.
        processor: Its processor.
        rules: Choice of tokens.
        shape: What memory depends on.
        context: Longest sequence in tokens.
        name: For people.
        revision: All of the weights and libraries that decides about the samples.
        memory: Of the card around loading; None on a CPU.
        compiled: Whether torch compiles parts of it when a shape first comes.
    """

    model: Any
    processor: Any
    rules: TokenRules
    shape: ModelShape
    context: int
    name: str
    revision: str
    memory: CardMemory | None = None
    compiled: bool = False

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        dtype: torch.dtype = self.model.dtype
        return dtype


def load(checkpoint: Checkpoint) -> LoadedModel:
    """Load a checkpoint; seconds to minutes.

    Raises:
        ConfigError: It is missing, damaged, of another kind, or the device is not there; the
            message for a missing one names the command that fetches it.
    """
    device = _device(checkpoint.device)
    before_bytes = _used_bytes(device)
    processor, model = _placed(checkpoint, device)
    if checkpoint.compiled:
        compile_parts(model)
    processor.tokenizer.padding_side = "left"
    config, generation = model.config, model.generation_config.to_dict()
    require_solver(generation.get("noise_scheduler_config") or {})
    _require_supported(config, checkpoint.model)
    loaded = LoadedModel(
        model=model,
        processor=processor,
        rules=token_rules(
            audio=config.audio_token_id,
            audio_begin=config.audio_bos_token_id,
            audio_end=config.audio_eos_token_id,
            end=config.eos_token_id,
            generation=generation,
        ),
        shape=_shape(config.text_config, model.dtype),
        context=config.text_config.max_position_embeddings,
        name=Path(checkpoint.model).name,
        revision=_revision(checkpoint, processor),
        memory=_memory(device, before_bytes),
        compiled=checkpoint.compiled,
    )
    logger.info(
        "loaded %s on %s as %s (int8: %s): card memory %s",
        *(checkpoint.model, device, checkpoint.dtype, checkpoint.int8, loaded.memory),
    )
    return loaded


def fuse_norms(model: Any) -> Any:
    """Put torch's RMSNorm, one kernel, in the place of transformers' six; the same weights."""
    for parent in list(model.modules()):
        for name, norm in parent.named_children():
            if type(norm).__name__.endswith("RMSNorm") and hasattr(norm, "variance_epsilon"):
                fused = torch.nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon)
                fused.weight = norm.weight
                setattr(parent, name, fused)
    return model


def _placed(checkpoint: Checkpoint, device: torch.device) -> tuple[Any, Any]:
    """Processor and model, on its device and ready.

    Weights pass through the host's memory: transformers puts them on a card one by one only where
    accelerate is installed, a dependency for nothing but that.
    """
    try:
        processor, model = _parts(checkpoint)
        if checkpoint.int8 != "bitsandbytes":  # is where it belongs, and can't be moved
            model = model.to(device)
        return processor, fuse_norms(model).eval().requires_grad_(False)
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{checkpoint.model} does not fit on {device}: {error}; take a smaller model, int8 "
            "weights or a larger card",
            "engine",
        ) from error


def _parts(checkpoint: Checkpoint) -> tuple[Any, Any]:
    folder = Path(checkpoint.model).expanduser()
    if not folder.is_dir() and not checkpoint.revision:
        raise ConfigError(
            f"no folder {checkpoint.model!r}; fetch the weights with "
            f"'{checkpoint.fetch_command}' (COMMIT: one of the model's page) and name the folder, "
            "or name a hub model together with its revision",
            "engine",
        )
    where = str(folder) if folder.is_dir() else checkpoint.model
    revision = {} if folder.is_dir() else {"revision": checkpoint.revision}
    try:
        processor = AutoProcessor.from_pretrained(where, **revision)
        model, report = VibeVoiceForConditionalGeneration.from_pretrained(
            where,
            dtype=DTYPES[checkpoint.dtype],
            attn_implementation={"text_config": "sdpa"},
            output_loading_info=True,
            **int8_arguments(checkpoint.int8, checkpoint.device),
            **revision,
        )
    except (ConfigError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a damaged file makes a library raise
        raise ConfigError(
            f"can't load {checkpoint.model!r}: {type(error).__name__}: {error}; fetch it with "
            f"'{checkpoint.fetch_command}'",
            "engine",
        ) from error
    lost = sorted(report["missing_keys"]) + [str(key) for key in report["mismatched_keys"]]
    if lost:
        raise ConfigError(
            f"{checkpoint.model!r} lacks {len(lost)} weights, the first is {lost[0]}; fetch it "
            f"again with '{checkpoint.fetch_command}'",
            "engine",
        )
    return processor, model


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"no CUDA card for device {name!r}; use device: cpu", "engine")
    return device


def _used_bytes(device: torch.device) -> int:
    """What everybody takes of the card."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def _memory(device: torch.device, before_bytes: int) -> CardMemory | None:
    if device.type != "cuda":
        return None
    total = torch.cuda.mem_get_info(device)[1]
    return CardMemory(total, before_bytes, _used_bytes(device))


def _require_supported(config: Any, name: str) -> None:
    kinds = set(getattr(config.text_config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ConfigError(f"{name!r} has layers of {sorted(kinds)}; only full attention", "engine")
    if config.audio_config.hop_length != FRAME_SAMPLES:
        raise ConfigError(
            f"{name!r} has frames of {config.audio_config.hop_length} samples, not {FRAME_SAMPLES}",
            "engine",
        )


def _shape(text: Any, dtype: torch.dtype) -> ModelShape:
    dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelShape(text.num_hidden_layers, text.num_key_value_heads, dim, dtype.itemsize)


def _revision(checkpoint: Checkpoint, processor: Any) -> str:
    folder = Path(checkpoint.model).expanduser()
    weights = _fingerprint(folder, processor) if folder.is_dir() else str(checkpoint.revision)
    int8 = f"+int8-{checkpoint.int8}" if checkpoint.int8 else ""
    compiled = "+compiled" if checkpoint.compiled else ""
    return (
        f"vibevoice-{weights}+{checkpoint.dtype}{int8}{compiled}"
        f"+{checkpoint.device.partition(':')[0]}"
        f"+torch-{torch.__version__}+transformers-{transformers.__version__}+{machine()}"
    )


def _fingerprint(folder: Path, processor: Any) -> str:
    """Of a folder's settings, and of the sizes and both ends of its weights."""
    digest = sha256(str(processor.chat_template).encode())
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, path.stat().st_size - _SAMPLE_BYTES))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]

"""Settings of the VibeVoice engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from serve_app.engines.vibevoice_weights import Int8

MIN_PREFILL_CHUNK: Final = 16
"""Smaller ones would keep a segment waiting for more frames than they spare the others."""


@dataclass(frozen=True, slots=True)
class VibeVoiceOptions:
    """Settings of the VibeVoice engine.

    Args:
        model: A folder with a checkpoint, or a name on the hub.
        voices: Path of a recording (1-30 s) for each voice id, in default order.
        library: Folder of the voice library, any fsspec path; its voices need no mention here.
        library_storage: Passed to the library's fsspec backend.
        revision: Commit of a model on the hub.
        device: ``auto`` takes a CUDA card if there is one; else ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: Of the weights; ``auto`` is bfloat16 on a card and float32 on a CPU.
        int8: Who holds the language model's weights in int8, ``torchao`` or ``bitsandbytes``.
        torch_compile: Have torch compile parts of the model.
        cuda_graphs: Record the frames' work on a card and replay it.
        static_cache_s: Keep room in all slots from the start, for segments of so many seconds;
            None lets it grow with what comes.
        prefill_chunk: Tokens of a joining segment's prompt read between two frames, so that the
            others wait less; None reads it whole. Another size may change last bits.
        slots: Segments spoken at once; lowered by the engine when memory is short.
        cfg_scale: Guidance of a task that names none.
        steps: Diffusion steps of a task that names none.
        threads: Of torch on the CPU; None leaves torch's own choice.

    Raises:
        ValueError: A number is out of its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str
    voices: dict[str, str] = field(default_factory=dict)
    library: str | None = None
    library_storage: dict[str, Any] = field(default_factory=dict)
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    int8: Int8 | None = None
    torch_compile: bool = False
    cuda_graphs: bool = False
    static_cache_s: float | None = None
    prefill_chunk: int | None = None
    slots: int = 8
    cfg_scale: float = 1.3
    steps: int = 10
    threads: int | None = None

    def __post_init__(self) -> None:
        require_sampling(self.cfg_scale, self.steps)
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads {self.threads} must be at least 1")
        if self.static_cache_s is not None and not 1 <= self.static_cache_s <= 3600:
            raise ValueError(f"static_cache_s {self.static_cache_s} must be 1..3600")
        if self.prefill_chunk is not None and self.prefill_chunk < MIN_PREFILL_CHUNK:
            raise ValueError(
                f"prefill_chunk {self.prefill_chunk} must be at least {MIN_PREFILL_CHUNK}"
            )
        if not self.voices and self.library is None:
            raise ValueError(
                "there are no voices; name a recording in engine options, voices: {id: path}, or "
                "a voice library in voices: {path: folder}"
            )


def require_sampling(scale: float, steps: int) -> None:
    """Refuse guidance and steps that no diffusion takes.

    Raises:
        ValueError: One is out of its range or no number.
    """
    if not 0 <= scale <= 20 or not 1 <= steps <= 100:
        raise ValueError(f"cfg_scale {scale} must be 0..20 and steps {steps} 1..100")

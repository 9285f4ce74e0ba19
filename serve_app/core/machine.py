"""What is known about a machine and about a config that shall run on it, as plain data.

Probes fill it (``serve_app.checkup``), :mod:`serve_app.core.doctor` judges it. What a probe could
not find out is None, and the reason stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from serve_app.core.vram import PUBLISHED, ModelShape, ModelSize

DEFAULT_REPO: Final = "vibevoice/VibeVoice-1.5B-hf"
"""The hub's name of the smaller checkpoint, as transformers' documentation gives it."""

_NUMBER_BYTES: Final = {"float32": 4}
_NAME_PARTS: Final = (("1.5b", 0), ("7b", 1), ("large", 1))


@dataclass(frozen=True, slots=True)
class Driver:
    """NVIDIA's driver.

    Args:
        version: Of the driver, or None.
        cuda: Newest CUDA it supports (``12.8``), or None.
        missing: Why there is no driver to ask, with what to do; None if there is one.
    """

    version: str | None = None
    cuda: str | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A card as the driver shows it; what the card does not tell is None.

    Args:
        index, uuid, name: As the driver has them.
        total_bytes, free_bytes: Memory.
        temp_c: Core temperature.
        error: Why it can't be read.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    temp_c: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Torch:
    """torch and transformers.

    Args:
        version: Of torch, or None if it is not installed.
        transformers: Version, or None if it is not installed.
        asked: False if torch was not imported, because nothing here needs it; then the rest is
            unknown.
        cuda: CUDA that torch was built for, or None for a build without.
        cards: Cards that torch can use.
        problem: What importing or asking it raised.
    """

    version: str | None = None
    transformers: str | None = None
    asked: bool = False
    cuda: str | None = None
    cards: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine and what it needs.

    Args:
        kind: As in a config.
        extra: Extra of this package that brings what it imports, or None.
        missing: Packages of the extra that are not installed; None if the extras are unknown.
    """

    kind: str
    extra: str | None
    missing: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint.

    Args:
        model: Folder or hub name, as in the config.
        revision: Commit on the hub, or None.
        folder: Where it is on this machine, or None.
        problem: What is wrong with it.
        weights_bytes: Size of the weights as they are stored.
        shape: What memory depends on, with the stored dtype.
        layers_bytes: Of the weights, those of the language model's layers.
    """

    model: str
    revision: str | None
    folder: str | None = None
    problem: str | None = None
    weights_bytes: int | None = None
    shape: ModelShape | None = None
    layers_bytes: int = 0

    @property
    def fetch_command(self) -> str:
        """The command that brings the weights to this machine."""
        commit = self.revision or "COMMIT"
        if self.named_on_hub:
            folder = f"models/{self.model.rpartition('/')[2]}"
            return f"hf download {self.model} --revision {commit} --local-dir {folder}"
        return f"hf download {DEFAULT_REPO} --revision {commit} --local-dir {self.model}"

    @property
    def named_on_hub(self) -> bool:
        """Whether *model* can be a name on the hub (``owner/name``)."""
        parts = self.model.split("/")
        return len(parts) == 2 and all(parts) and not self.model.startswith((".", "~"))

    def size(self, dtype: str) -> ModelSize | None:
        """What it takes on a card in *dtype*; None if neither it nor its name is known."""
        wanted = _NUMBER_BYTES.get(dtype, 2)
        if self.shape is not None and self.weights_bytes is not None:
            stored = ModelSize(self.model, self.weights_bytes, self.shape, self.layers_bytes)
            return _scaled(stored, wanted)
        name = self.model.lower()
        for part, at in _NAME_PARTS:
            if part in name:
                return _scaled(PUBLISHED[at], wanted)
        return None


def _scaled(stored: ModelSize, number_bytes: int) -> ModelSize:
    shape = stored.shape
    sizes = [
        size * number_bytes // shape.number_bytes
        for size in (stored.weights_bytes, stored.layers_bytes)
    ]
    scaled = ModelShape(shape.layers, shape.kv_heads, shape.head_dim, number_bytes)
    return ModelSize(stored.name, sizes[0], scaled, sizes[1])


@dataclass(frozen=True, slots=True)
class Port:
    """An address on which the service shall listen.

    Args:
        host, port: Which.
        state: ``free``, ``ours`` if such a service answers there already, ``taken``, ``denied``
            if this user may not use it, or ``foreign`` if the host is no address of this machine.
    """

    host: str
    port: int
    state: Literal["free", "ours", "taken", "denied", "foreign"]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where traces and metrics go.

    Args:
        endpoint: OTLP endpoint, or None.
        answers: Whether something listens there; None if it was not tried.
    """

    endpoint: str | None
    answers: bool | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The config that shall run.

    Args:
        path: Of the file.
        kind: Engine.
        cards: ``nvml``, ``simulated`` or ``none``.
        replicas: How many; None for one on every card.
        replica_cpus: CPUs that one replica books.
        slots: Segments that one replica speaks at once.
        device, dtype, int8: Of the vibevoice engine; whether its weights are rounded to 8 bits.
        static_cache_s: Seconds of a segment for which all slots have room from the start, or None.
        voices: Recordings of the vibevoice engine that are not readable files; None if it names
            no recording at all.
        weights: Of the vibevoice engine.
    """

    path: str
    kind: str
    cards: str
    replicas: int | None
    replica_cpus: float
    slots: int
    device: str = "auto"
    dtype: str = "auto"
    int8: bool = False
    static_cache_s: float | None = None
    voices: tuple[str, ...] | None = ()
    weights: Weights | None = None

    @property
    def size(self) -> ModelSize | None:
        """What the model takes on a card as the config holds it; None if that is unknown."""
        size = None if self.weights is None else self.weights.size(self.dtype)
        return size.in_int8 if size is not None and self.int8 else size

    @property
    def needs_cards(self) -> bool:
        """Whether a replica gets a card of its own, or asks for one."""
        return self.cards == "nvml" or self.device.startswith("cuda")

    @property
    def uses_torch_on_cards(self) -> bool:
        """Whether torch must find a card."""
        return self.kind == "vibevoice" and self.needs_cards and self.device != "cpu"


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything."""

    python: str
    cpus: int
    driver: Driver
    cards: tuple[Card, ...]
    torch: Torch
    engines: tuple[Engine, ...]
    port: Port
    telemetry: Telemetry
    wanted: Wanted

"""Settings: strict pydantic models, and the only reader of the environment.

A file in ``configs/`` is a Ray Serve config; what stands under ``args`` of the application
``vibevoice`` is a :class:`Settings`. Unknown keys are errors in both, here and in Ray's part
(Ray's own schema lets them pass).
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from serve_app.errors import ConfigError
from serve_app.jobs.settings import JobSettings
from serve_app.strict import StrictModel
from serve_app.watch_settings import (
    AlertSettings,
    ChannelSettings,
    ReportSettings,
    ThermalSettings,
)

IMPORT_PATH = "serve_app.app:build"
API_KEY = "VIBEVOICE_API_KEY"
"""Names the key that clients send, and that a service takes as an admin's."""


class EngineSettings(StrictModel):
    """Which engine speaks."""

    kind: Literal["piper", "simulated", "vibevoice"]
    """Its name."""
    slots: int = Field(default=1, ge=1, le=64)
    """Segments that one replica speaks at once."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Engine's own options, checked by the engine when it is made."""


class SpeechSettings(StrictModel):
    """Limits of one synchronous request, and the fan-out's bounds (see ``pieces.FanOutRules``)."""

    max_input_characters: int = Field(default=20_000, ge=1)
    """Longer input is answered with 413."""
    max_concurrent_requests: int = Field(default=64, ge=1)
    """Streams at once on one ingress; one more is answered with 429."""
    look_ahead_segments: int = Field(default=32, ge=1)
    """Segments dispatched from the listener's on."""
    buffer_mib: int = Field(default=40, ge=4)
    """PCM in flight or held for one request."""
    attempts: int = Field(default=4, ge=1)
    """Takes of one segment before a fault is final."""
    takes: int = Field(default=3, ge=1)
    """Seeds tried before a bad segment is split."""
    assign_timeout_s: float = Field(default=120.0, gt=0)
    """Wait for a slot on a replica."""
    first_chunk_timeout_s: float = Field(default=30.0, gt=0)
    """From the slot to the first sound."""
    chunk_timeout_s: float = Field(default=20.0, gt=0)
    """Between two chunks of a segment."""
    whole_answer_wait_s: float = Field(default=0.02, ge=0, le=1)
    """Wait, after the first sound of a script of one segment, for the rest of it; complete by
    then, its answer says in front how long it is and how it ended."""
    log_text: bool = False
    """Write the text of each request into the log; else only its length and hash stand there."""
    live: bool = False
    """Let each segment out while it is spoken, not only the first; for one card slower than a
    third of real time. The others are let out once complete and checked (see ``takes``)."""


class VoiceSettings(StrictModel):
    """The voice library, for engines that speak with recordings."""

    path: str | None = None
    """Folder of the library, any fsspec path (``/srv/voices``, ``s3://bucket/voices``); every node
    must reach the same one. None: only the voices of the engine's own options."""
    storage: dict[str, Any] = Field(default_factory=dict)
    """Passed to the fsspec backend: endpoint, keys, time-outs."""
    max_voices: int = Field(default=1_000, ge=1)
    """Uploads beyond are refused."""


class AccessSettings(StrictModel):
    """Who may call, how much one request may send, and how the service ends."""

    keys: Literal["required", "off"] = "required"
    """``off`` lets everybody in."""
    keys_file: Path | None = None
    """File of hashed keys (see ``keys``), followed while it changes; besides it the variable
    ``VIBEVOICE_API_KEY`` may hold one admin key. What keys have used, the day's characters too, is
    counted in memory and begins anew with the ingress."""
    cors_origins: tuple[str, ...] = ()
    """Origins (``https://app.example``) whose pages may call from a browser; ``*`` is any."""
    max_body_mib: float = Field(default=2.0, gt=0, le=1024)
    """Largest request body."""
    max_upload_mib: float = Field(default=12.0, gt=0, le=1024)
    """Largest body of an upload (``multipart/form-data``)."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """Wait for the next part of a body."""
    whole_body_timeout_s: float = Field(default=120.0, gt=0)
    """Wait for the whole of it."""
    send_timeout_s: float = Field(default=300.0, gt=0)
    """Wait for a client that reads nothing; then it is cut off."""
    max_open_requests: int = Field(default=1_000, ge=1)
    """Requests open at once on one ingress, whatever they ask; one more is answered with 429."""
    drain_timeout_s: float = Field(default=60.0, ge=0)
    """How long streams may go on once the service is told to end."""

    @field_validator("keys", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value


class TelemetrySettings(StrictModel):
    """What is watched; where it is sent is told by the standard ``OTEL_*`` variables."""

    sample_period_s: float = Field(default=1.0, ge=0.1, le=60)
    """Period of the sampler on each node."""
    simulated_cards_per_node: int | None = Field(default=None, ge=1, le=64)
    """Cards that each node shows where ``cards`` is ``simulated``; one a replica unless told."""
    slow_period_s: float = Field(default=15.0, ge=1, le=600)
    """Period of what changes slowly: limits, memory errors, processes."""
    thermal: ThermalSettings = ThermalSettings()
    alerts: AlertSettings = AlertSettings()
    report: ReportSettings | None = None


class Settings(StrictModel):
    """The arguments of the application."""

    engine: EngineSettings
    cards: Literal["nvml", "simulated", "none"]
    """Real cards, cards that exist only in software (and say so everywhere), or none."""
    replicas: int | Literal["every_card"] = 1
    """Number of replicas, or one for each card that the cluster has when it is deployed."""
    replica_cpus: float = Field(default=0.5, ge=0)
    """CPUs that Ray books for one replica."""
    max_constructor_retries: int = Field(default=3, ge=1)
    """Failed starts of a replica before the deployment is declared unhealthy."""
    speech: SpeechSettings = SpeechSettings()
    voices: VoiceSettings = VoiceSettings()
    access: AccessSettings = AccessSettings()
    jobs: JobSettings | None = None
    """Long jobs; None: there are none. ``{}`` takes the defaults."""
    telemetry: TelemetrySettings = TelemetrySettings()
    model_aliases: tuple[str, ...] = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
    """Model names of other services that clients may send."""
    voice_aliases: dict[str, str] = Field(default_factory=dict)
    """Voice id by a name that clients may send. OpenAI's voice names that are not among them stand
    for the engine's voices in their order (see ``core.casting``)."""

    @property
    def engine_options(self) -> dict[str, Any]:
        """All that the engine is made with."""
        options = {**self.engine.options, "slots": self.engine.slots}
        if self.engine.kind == "vibevoice" and self.voices.path is not None:
            options["library"] = self.voices.path
            options["library_storage"] = self.voices.storage
        return options

    @property
    def simulated_cards(self) -> int:
        """Simulated cards on each node."""
        replicas = self.replicas if isinstance(self.replicas, int) else 1
        return self.telemetry.simulated_cards_per_node or replicas

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.replicas == "every_card" and self.cards != "nvml":
            raise ValueError(
                f"replicas: every_card needs cards: nvml, not {self.cards!r}; give a number instead"
            )
        if isinstance(self.replicas, int) and self.replicas < 1:
            raise ValueError(f"replicas must be at least 1, not {self.replicas}")
        return self


class ServeFile(StrictModel):
    """A Ray Serve config file as the command line uses it."""

    host: str
    port: int
    settings: Settings
    raw: dict[str, Any]

    def with_args(self, **changes: Any) -> ServeFile:
        """The same service with other settings, by their names.

        Raises:
            ConfigError: They contradict the others.
        """
        raw = copy.deepcopy(self.raw)
        for application in raw["applications"]:
            if application.get("import_path") == IMPORT_PATH:
                application["args"] = {**(application.get("args") or {}), **changes}
        return _serve_file(raw)


def parse_settings(args: dict[str, Any]) -> Settings:
    """Check the application's arguments.

    Raises:
        ConfigError: Names every wrong key with its place and what is allowed.
    """
    try:
        return Settings.model_validate(args)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc'])) or 'args'}: {item['msg']}"
            for item in error.errors()
        ]
        raise ConfigError(
            "The application's settings (args) are wrong:\n" + "\n".join(lines)
        ) from None


def load_serve_file(path: Path) -> ServeFile:
    """Read a Serve config and check our part of it; Ray's part is checked by ``rayconfig``.

    Raises:
        ConfigError: The file can't be read, is no YAML, or has no application of ours.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} can't be read as a Serve config: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} is no Serve config; see configs/local.yaml for one that works.")
    return _serve_file(raw)


def _serve_file(raw: dict[str, Any]) -> ServeFile:
    for application in raw.get("applications") or []:
        if application.get("import_path") == IMPORT_PATH:
            http = raw.get("http_options") or {}
            return ServeFile(
                host=http.get("host", "127.0.0.1"),
                port=http.get("port", 8000),
                settings=parse_settings(application.get("args") or {}),
                raw=raw,
            )
    raise ConfigError(
        f"The Serve config has no application with import_path {IMPORT_PATH}; "
        "see configs/local.yaml for one that works."
    )


def channel_url(channel: ChannelSettings) -> str:
    """The URL of an alert channel, wherever it is kept.

    Raises:
        ConfigError: The variable is not set, or the file can't be read.
    """
    if channel.url is not None:
        return channel.url
    if channel.url_env is not None:
        if not (found := os.environ.get(channel.url_env, "").strip()):
            raise ConfigError(
                f"The alert channel {channel.name!r} needs the environment variable "
                f"{channel.url_env}, which is not set."
            )
        return found
    assert channel.url_file is not None
    try:
        return channel.url_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"The alert channel {channel.name!r} needs the file {channel.url_file}, which can't "
            f"be read: {error.strerror}."
        ) from error


def api_key() -> str | None:
    """The key of the environment, or None."""
    return os.environ.get(API_KEY, "").strip() or None


def otlp_endpoint() -> str | None:
    """Where OTLP goes, by the standard variables; None when nothing is exported."""
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )

"""All probes together: from a config to what is known about it and this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_app.checkup.bounded import within
from serve_app.checkup.cards import find_cards
from serve_app.checkup.surroundings import (
    find_engines,
    look_at_collector,
    look_at_port,
    version_of,
)
from serve_app.checkup.weights import find_weights
from serve_app.config import ServeFile, Settings, otlp_endpoint
from serve_app.core.machine import Machine, Torch, Wanted

TORCH_TIMEOUT_S = 120.0
"""The first import after an installation reads gigabytes."""


def look(path: Path, file: ServeFile, environment: Mapping[str, str]) -> Machine:
    """Find out everything; seconds.

    Args:
        path: Of the config.
        file: The config.
        environment: Variables that move the hub's cache.
    """
    wanted = wanted_of(path, file.settings, environment)
    found = find_cards()
    return Machine(
        python=platform.python_version(),
        cpus=os.cpu_count() or 1,
        driver=found.driver,
        cards=found.cards,
        torch=find_torch(asked=wanted.kind == "vibevoice" or bool(found.cards)),
        engines=find_engines(),
        port=look_at_port(file.host, file.port),
        telemetry=look_at_collector(otlp_endpoint()),
        wanted=wanted,
    )


def wanted_of(path: Path, settings: Settings, environment: Mapping[str, str]) -> Wanted:
    """What a config asks of a machine."""
    options = settings.engine_options
    vibevoice = settings.engine.kind == "vibevoice"
    replicas = settings.replicas
    return Wanted(
        path=str(path),
        kind=settings.engine.kind,
        cards=settings.cards,
        replicas=None if replicas == "every_card" else replicas,
        replica_cpus=settings.replica_cpus,
        slots=settings.engine.slots,
        device=str(options.get("device", "auto")) if vibevoice else "cpu",
        dtype=str(options.get("dtype", "auto")),
        int8=options.get("int8") is not None,
        static_cache_s=options.get("static_cache_s"),
        voices=_unreadable(options) if vibevoice else (),
        weights=find_weights(str(options.get("model", "")), options.get("revision"), environment)
        if vibevoice
        else None,
    )


def _unreadable(options: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Recordings that are no files; None if no voice is named in any way."""
    recordings = options.get("voices") or {}
    if not recordings and not options.get("library"):
        return None
    return tuple(str(path) for path in recordings.values() if not Path(str(path)).is_file())


def find_torch(*, asked: bool, timeout_s: float = TORCH_TIMEOUT_S) -> Torch:
    """torch and transformers; imported only if *asked*."""
    version, transformers = version_of("torch"), version_of("transformers")
    if version is None or not asked:
        return Torch(version, transformers)
    try:
        answer = within(timeout_s, _ask_torch)
    except TimeoutError:
        problem = f"it does not answer within {timeout_s:g} s; the driver may hang"
        return Torch(version, transformers, asked=True, problem=problem)
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        problem = f"{type(error).__name__}: {error}"
        return Torch(version, transformers, asked=True, problem=problem)
    return Torch(version, transformers, asked=True, cuda=answer[0], cards=answer[1])


def _ask_torch() -> tuple[str | None, int]:
    from serve_app.checkup.torch_probe import ask_torch  # noqa: PLC0415 - seconds, if at all there

    answer = ask_torch()
    return answer.cuda, answer.cards

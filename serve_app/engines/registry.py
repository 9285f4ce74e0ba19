"""From the name of an engine to the engine; what it needs is imported only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from serve_app.engines.base import Engine, Line
from serve_app.engines.piper_text import require_speakable
from serve_app.errors import ConfigError


class _Kind(NamedTuple):
    """Where an engine's ``create(options)`` is, the extra that brings what it imports, and the
    options that a task may have."""

    module: str
    extra: str | None
    options: frozenset[str] = frozenset()


_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "piper": _Kind("serve_app.engines.piper", "piper"),
        "simulated": _Kind("serve_app.engines.simulated", None),
        "vibevoice": _Kind(
            "serve_app.engines.vibevoice", "vibevoice", frozenset({"cfg_scale", "steps"})
        ),
    }
)

KINDS: Final = tuple(_KINDS)
"""Names that :func:`create` knows."""


def create(kind: str, options: Mapping[str, Any]) -> Engine:
    """Load an engine; may take seconds and must not run on an event loop.

    Args:
        kind: One of :data:`KINDS`.
        options: The engine's own settings by name, as in a config file.

    Raises:
        ConfigError: The kind or an option is unknown, a value is wrong, or a package is missing;
            the message then names the extra to install.
    """
    if kind not in _KINDS:
        raise ConfigError(f"no engine {kind!r}; there are {', '.join(KINDS)}", "engine")
    module, extra, _ = _KINDS[kind]
    try:
        engine = import_module(module)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("serve_app"):
            raise
        raise ConfigError(
            f"the {kind} engine needs the package {error.name!r}; install it with "
            f"pip install 'vibevoice-serve[{extra}]'",
            "engine",
        ) from error
    try:
        return cast("Engine", engine.create(options))
    except ValueError as error:
        raise ConfigError(f"the {kind} engine refuses its options: {error}", "engine") from error


def checker(kind: str) -> Callable[[tuple[Line, ...]], None]:
    """The check of text that an engine can't speak, without the engine or its packages.

    An ingress refuses such text before anything starts.
    """
    return require_speakable if kind == "piper" else _anything


def task_options(kind: str) -> frozenset[str]:
    """Names of the options that a task of this engine may have; no other one has any effect."""
    return _KINDS[kind].options


def _anything(_lines: tuple[Line, ...]) -> None:
    """An engine that reads every script."""

"""From settings in a file to an engine's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from serve_app.errors import ConfigError

T = TypeVar("T")


def parse_options(kind: type[T], options: Mapping[str, Any]) -> T:
    """Check *options* against a dataclass, nested ones included.

    Args:
        kind: A dataclass whose ``__pydantic_config__`` forbids what it does not know.
        options: Settings by name.

    Raises:
        ConfigError: Names each setting that is wrong, and why.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(options))
    except (ValidationError, ValueError) as error:
        details = error.errors() if isinstance(error, ValidationError) else []
        wrong = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details
        )
        raise ConfigError(f"{kind.__name__}: {wrong or error}", "engine") from error

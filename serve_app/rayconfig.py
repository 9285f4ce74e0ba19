"""A Serve config held against Ray's schema, unknown keys included.

``ServeDeploySchema`` accepts unknown keys silently, so a misspelt option would just do nothing.
Here the parsed config is compared with what was written, key by key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeDeploySchema

from serve_app.errors import ConfigError

_FREE_FORM = {"args", "runtime_env", "user_config", "ray_actor_options", "http_options"}


def check_serve_config(raw: Mapping[str, Any]) -> None:
    """Check *raw* against Ray's schema.

    Raises:
        ConfigError: Names each wrong or unknown key.
    """
    try:
        parsed = ServeDeploySchema.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("Ray refuses this Serve config:\n" + "\n".join(lines)) from None
    unknown = sorted(_unknown(raw, parsed, ""))
    if unknown:
        raise ConfigError(
            f"Unknown keys in the Serve config: {', '.join(unknown)}. "
            "Ray would ignore them; correct or remove them."
        )


def _unknown(raw: Mapping[str, Any], model: BaseModel, place: str) -> Iterator[str]:
    fields = type(model).model_fields
    for key, value in raw.items():
        if key not in fields:
            yield place + key
            continue
        held = getattr(model, key)
        if key in _FREE_FORM:
            if isinstance(held, BaseModel) and isinstance(value, Mapping):
                yield from (
                    f"{place}{key}.{inner}"
                    for inner in value
                    if inner not in type(held).model_fields
                )
            continue
        if isinstance(held, BaseModel) and isinstance(value, Mapping):
            yield from _unknown(value, held, f"{place}{key}.")
        elif isinstance(held, list):
            for number, (inner, item) in enumerate(zip(value, held, strict=True)):
                if isinstance(item, BaseModel):
                    yield from _unknown(inner, item, f"{place}{key}.{number}.")

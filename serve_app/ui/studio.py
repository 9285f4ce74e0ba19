"""The studio as a Ray Serve application of its own: ``import_path: serve_app.ui.studio:build``.

It calls the speech service over HTTP like any client, so it may run anywhere. One replica: a
page's events and its recordings belong to one process.

It listens where Serve's proxies do (``http_options``; loopback unless told otherwise), and the gate
of the service does not stand before it: what it may do is told by its own key, and who may use it
by its login (:class:`StudioSettings`).
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve import Application

from serve_app.errors import ConfigError
from serve_app.ui.studio_settings import (
    load_examples,
    parse_studio_settings,
    require_own_key,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@serve.deployment(name="Studio")
@serve.ingress()
class Studio:
    """The page; see :mod:`serve_app.ui.studio_app`.

    Args:
        args: The studio's settings, as plain data.
        examples: Scripts by title.
    """

    def __init__(self, args: dict[str, Any], examples: dict[str, str]) -> None:
        self._settings, self._examples = parse_studio_settings(args), examples

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after the constructor; Serve runs the application's lifespan."""
        from serve_app.ui.studio_app import create_studio  # noqa: PLC0415 - brings Gradio

        return create_studio(self._settings, self._examples)


def build(args: dict[str, Any]) -> Application:
    """Build the application from a Serve config's ``args`` (:class:`StudioSettings`).

    Raises:
        ConfigError: The settings are wrong, an example can't be read, Gradio is not installed, or
            there is a login but no key to work with.
    """
    settings = parse_studio_settings(args)
    require_own_key(settings)
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError(
            "The studio needs Gradio, which is not installed here. Install the extra 'ui': "
            "pip install 'vibevoice-serve[ui]'"
        )
    studio = Studio.options(  # type: ignore[attr-defined]
        num_replicas=1,
        max_ongoing_requests=256,
        ray_actor_options={
            "num_cpus": 0.1,
            "num_gpus": 0,
            "runtime_env": {"env_vars": _ENVIRONMENT},
        },
    ).bind(args, load_examples(settings.example_files))
    application: Application = studio
    return application

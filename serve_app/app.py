"""Settings -> bound Ray Serve application: ``serve run serve_app.app:build key=value ...``.

Three deployments: ``Synth``, one replica a card, ``Ingress``, and ``Jobs`` where there are jobs;
only the first holds cards. What the
deployments do is in modules of their own; here is only how many there are and what Ray books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from ray import serve
from ray.serve import Application

from serve_app.access import require_key_source
from serve_app.config import Settings, parse_settings
from serve_app.errors import ConfigError
from serve_app.jobs.deployment import Jobs
from serve_app.routing import router_config
from serve_app.synth import Synth

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve.handle import DeploymentHandle

_HEALTH_SPARE = 64
_DRAIN_LOOK_S = 0.5
_NO_CARD = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
# The runner passes audio through many threads; with a heap for each, what they free stays theirs.
_RUNNER = {"env_vars": {"CUDA_VISIBLE_DEVICES": "", "MALLOC_ARENA_MAX": "2"}}


@serve.deployment(name="Ingress")
@serve.ingress()
class Ingress:
    """The HTTP face; see :mod:`serve_app.rayingress`.

    Args:
        synth: Handle of the replicas.
        args: The application's settings, as plain data.
        replicas: How many replicas there are.
        jobs: Handle of the runner of the jobs, if there is one.
    """

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self,
        synth: DeploymentHandle[Any],
        args: dict[str, Any],
        replicas: int,
        jobs: DeploymentHandle[Any] | None = None,
    ) -> None:
        from serve_app.config import parse_settings
        from serve_app.rayingress import IngressParts

        self._parts = IngressParts(synth, parse_settings(args), replicas, jobs)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after the constructor."""
        return self._parts.app()

    async def drain(self) -> int:
        """Take no new requests; returns the streams that still run."""
        return self._parts.drain()

    async def __del__(self) -> None:
        """Stop what runs in the background; Serve awaits this at shutdown."""
        await self._parts.close()


def build(args: dict[str, Any]) -> Application:
    """Build the application from a Serve config's ``args``.

    Raises:
        ConfigError: The settings are wrong, or the cluster has no card where one is asked for.
    """
    settings = parse_settings(args)
    require_key_source(settings.access)
    replicas = replica_count(settings)
    drain_s = settings.access.drain_timeout_s
    real_cards = settings.cards == "nvml"
    synth = Synth.options(  # type: ignore[attr-defined]
        num_replicas=replicas,
        max_ongoing_requests=settings.engine.slots,
        request_router_config=router_config(),
        ray_actor_options={
            "num_cpus": settings.replica_cpus,
            "num_gpus": 1 if real_cards else 0,
            **({} if real_cards else {"runtime_env": _NO_CARD}),
        },
        health_check_period_s=5,
        health_check_timeout_s=20,
        graceful_shutdown_timeout_s=drain_s,
        graceful_shutdown_wait_loop_s=_DRAIN_LOOK_S,
        max_constructor_retry_count=settings.max_constructor_retries,
    ).bind(args)
    ingress = Ingress.options(  # type: ignore[attr-defined]
        # The gate answers what is too much; what Serve holds back would only wait.
        max_ongoing_requests=settings.access.max_open_requests + _HEALTH_SPARE,
        ray_actor_options={"num_cpus": 0.1, "num_gpus": 0, "runtime_env": _NO_CARD},
        graceful_shutdown_timeout_s=drain_s,
        graceful_shutdown_wait_loop_s=_DRAIN_LOOK_S,
    ).bind(synth, args, replicas, _jobs(settings, synth, args, replicas))
    application: Application = ingress
    return application


def _jobs(
    settings: Settings, synth: Application, args: dict[str, Any], replicas: int
) -> Application | None:
    """The runner of the jobs, where the settings ask for one."""
    if settings.jobs is None:
        return None
    runner = Jobs.options(  # type: ignore[attr-defined]
        ray_actor_options={"num_cpus": 0.1, "num_gpus": 0, "runtime_env": _RUNNER}
    )
    bound: Application = runner.bind(synth, args, settings.jobs.model_dump(mode="json"), replicas)
    return bound


def replica_count(settings: Settings) -> int:
    """Replicas to start: the number asked for, or one for each card of the cluster.

    Raises:
        ConfigError: ``every_card`` on a cluster that shows no card.
    """
    if settings.replicas != "every_card":
        return settings.replicas
    cards = int(ray.cluster_resources().get("GPU", 0)) if ray.is_initialized() else 0
    if cards < 1:
        raise ConfigError(
            "replicas: every_card, but the cluster shows no card. Run 'vibevoice-serve gpus' on a "
            "node to see what its driver says, or choose cards: none with engine piper."
        )
    return cards

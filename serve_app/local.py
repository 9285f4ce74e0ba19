"""The service on this machine: Ray and Serve started, and stopped again, by one object.

Ray reads its environment when its processes start, so everything that is told by variables
(tracing, usage statistics off) is set here, before Ray is imported.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serve_app.config import IMPORT_PATH, ServeFile
from serve_app.errors import ConfigError
from serve_app.transport import HaProxy, Transport
from telemetry.otel import TRACE_DIR, tracing_environment

logger = logging.getLogger(__name__)

_DRAIN_LOOK_S = 0.25
_DRAIN_ANSWER_S = 5.0

RAY_ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # Each of Serve's processes would hand on its counters ten times a second, also when idle.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
    # Heads of requests within bounds, in the proxies that read them.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.ingress.head:install",
}


def ray_environment(trace_dir: Path | None = None) -> dict[str, str]:
    """Variables for Ray's processes: no usage statistics, and tracing where it is wanted.

    Args:
        trace_dir: Folder for spans as JSON lines, besides what ``OTEL_*`` asks for.
    """
    added = {} if trace_dir is None else {TRACE_DIR: str(trace_dir)}
    return {**RAY_ENVIRONMENT, **added, **tracing_environment({**os.environ, **added})}


@dataclass(frozen=True, slots=True)
class LocalService:
    """A running service.

    Args:
        url: Where it listens.
    """

    url: str


@contextmanager
def running(
    file: ServeFile,
    *,
    host: str | None = None,
    port: int | None = None,
    address: str | None = None,
    environment: Mapping[str, str],
    quiet: bool = False,
    transport: Transport = "proxy",
) -> Iterator[LocalService]:
    """Start the applications of a Serve config; stop on exit whatever was started here.

    Args:
        file: The config.
        host, port: Listen elsewhere than the config says.
        address: Join this Ray cluster instead of starting one.
        environment: Variables for Ray's processes, from :func:`ray_environment`.
        quiet: Keep Ray's log lines out of this terminal.
        transport: How HTTP reaches the ingress; a cluster that runs already has its own.

    Raises:
        ConfigError: The config does not fit Ray's schema or this cluster.
    """
    host, port = host or file.host, file.port if port is None else port
    with ExitStack() as stack:
        haproxy = None
        if transport == "haproxy" and address is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="vvs-")))
            haproxy = HaProxy.open(folder)
            environment = {**environment, **haproxy.environment()}
        stack.enter_context(_environment(environment))
        service = stack.enter_context(_running(file, host, port, address, quiet=quiet))
        if haproxy is not None and not haproxy.wait():
            logger.warning("HAProxy does not reach the ingress; Serve's own proxy stands in")
        yield service


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _running(
    file: ServeFile, host: str, port: int, address: str | None, *, quiet: bool
) -> Iterator[LocalService]:
    import ray  # noqa: PLC0415 - after the environment is set
    from ray import serve  # noqa: PLC0415

    from serve_app.rayconfig import check_serve_config  # noqa: PLC0415
    from telemetry.actor import stop_actors  # noqa: PLC0415
    from telemetry.watch_actor import stop_watch  # noqa: PLC0415

    check_serve_config(file.raw)
    joined = ray.is_initialized()
    if not joined:
        _init(address, quiet=quiet)
    try:
        serve.start(
            proxy_location=file.raw.get("proxy_location", "HeadOnly"),
            http_options={**(file.raw.get("http_options") or {}), "host": host, "port": port},
        )
        for application in file.raw["applications"]:
            _run(application)
        yield LocalService(f"http://{_reachable(host)}:{port}")
    finally:
        drain(file)
        with ExitStack() as stopping:  # all of it, also when a part of it fails
            if not joined:
                stopping.callback(ray.shutdown)
            if not joined and address is None:  # else others on that cluster share them
                stopping.callback(stop_actors)
                stopping.callback(stop_watch)
            # Deleting lets replicas flush what they have to export; others' applications stay.
            for application in file.raw["applications"]:
                stopping.callback(serve.delete, application["name"])


def drain(file: ServeFile) -> None:
    """Let streams end while new requests are answered with 503; bounded by the settings.

    Serve itself would stop the replicas that speak beside the ingress that still sends.
    """
    from ray import serve  # noqa: PLC0415

    deadline_s = time.monotonic() + file.settings.access.drain_timeout_s
    try:
        ingresses = [
            serve.get_app_handle(application["name"])
            for application in file.raw["applications"]
            if application["import_path"] == IMPORT_PATH
        ]
        while True:
            answers = [
                ingress.broadcast("drain").results(timeout_s=_DRAIN_ANSWER_S)
                for ingress in ingresses
            ]
            left = sum(sum(answer) for answer in answers)
            if left == 0 or time.monotonic() >= deadline_s:
                break
            time.sleep(_DRAIN_LOOK_S)
        if left:
            logger.warning("%d streams are cut off: they took too long to end", left)
    except Exception as error:  # noqa: BLE001 - what never came up must still be taken down
        logger.info("nothing to drain (%s)", type(error).__name__)


def _init(address: str | None, *, quiet: bool) -> None:
    import ray  # noqa: PLC0415

    options: dict[str, Any] = {"log_to_driver": not quiet, "logging_level": "warning"}
    if quiet:
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        options["logging_level"] = "error"
    if address is None:
        # Not left out: Ray would join whatever RAY_ADDRESS names or runs on this machine.
        address = "local"
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(address=address, **options)


def _run(application: Mapping[str, Any]) -> None:
    from ray import serve  # noqa: PLC0415
    from ray._common.utils import import_attr  # noqa: PLC0415

    built = import_attr(application["import_path"])(application.get("args") or {})
    try:
        serve.run(
            built,
            name=application["name"],
            route_prefix=application.get("route_prefix", "/"),
        )
    except RuntimeError as error:
        raise ConfigError(
            f"Application {application['name']!r} did not come up: {error} "
            "The replica's log under /tmp/ray/session_latest/logs/serve says why."
        ) from error


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


def wait_for_signal() -> None:
    """Block until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    # The second Ctrl-C ends at once.
    signal.signal(signal.SIGINT, signal.default_int_handler)

"""One local Ray cluster for all integration tests: a simulated and a piper application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml

from serve_app import local
from serve_app.config import load_serve_file
from tests.otlp import OtlpReceiver
from tests.processes import free_port

SIMULATED = {
    "engine": {
        "kind": "simulated",
        "options": {
            "first_chunk_s": 0.05,
            "real_time_factor": 0.01,
            "faults": [
                {"kind": "crash", "text": "earthquake"},
                {"kind": "bad_audio", "text": "hoarse", "takes": 1},
                {"kind": "hang", "text": "eternity"},
            ],
        },
    },
    "cards": "simulated",
    "replicas": 3,
    "replica_cpus": 0.1,
    "speech": {"max_input_characters": 60_000},
    "access": {"keys": "off", "drain_timeout_s": 2},
    "telemetry": {"simulated_cards_per_node": 3},
}
# Applications of one cluster share each node's telemetry, so both tell it the same.
PIPER = {
    "engine": {"kind": "piper"},
    "cards": "simulated",
    "replicas": 2,
    "replica_cpus": 0.5,
    "access": {"keys": "off", "drain_timeout_s": 2},
    "voice_aliases": {"alloy": "joe", "nova": "joe-light", "onyx": "joe-deep"},
    "telemetry": SIMULATED["telemetry"],
}


@dataclass(frozen=True)
class Cluster:
    """Where the applications listen, and what OpenTelemetry received from them."""

    url: str
    otlp: OtlpReceiver

    @property
    def piper_url(self) -> str:
        return f"{self.url}/piper"


def application(name: str, prefix: str, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": prefix,
        "import_path": "serve_app.app:build",
        "args": args,
    }


# Of the package, not of the session: single tests that follow in this process need no cluster.
@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    path = tmp_path_factory.mktemp("serve") / "config.yaml"
    applications = [
        application("vibevoice", "/", SIMULATED),
        application("piper", "/piper", PIPER),
    ]
    path.write_text(yaml.safe_dump({"applications": applications}))
    with OtlpReceiver() as otlp:
        # A dozen processes export: as often as the receiver would have it, they do little else.
        seldom = {"OTEL_METRIC_EXPORT_INTERVAL": "3000", "OTEL_BSP_SCHEDULE_DELAY": "500"}
        environment = {**otlp.environment(), **seldom}
        with (
            pytest.MonkeyPatch.context() as patch,
            local.running(
                load_serve_file(path),
                port=free_port(),
                environment=_with_tracing(patch, environment),
                quiet=True,
            ) as service,
        ):
            yield Cluster(service.url, otlp)


def _with_tracing(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> dict[str, str]:
    """Ray's environment where OTLP is configured, taken back when the tests are done."""
    for name, value in environment.items():
        patch.setenv(name, value)
    added = local.ray_environment()
    for name, value in added.items():
        patch.setenv(name, value)
    return added


@pytest.fixture
def http(cluster: Cluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cluster.url, timeout=60) as client:
        yield client

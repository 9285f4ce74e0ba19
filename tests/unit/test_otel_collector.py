"""configs/otel-collector.yaml holds together; no collector runs where tests run."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml

from tests.manifests import ROOT, one, render

PATH = ROOT / "configs" / "otel-collector.yaml"

# Of the contrib distribution, release 0.152.
KNOWN = {
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "resourcedetection", "probabilistic_sampler", "batch"},
    "exporters": {"debug", "prometheus", "otlp_grpc", "otlp_http"},
    "extensions": {"health_check"},
}

Config = dict[str, Any]


def problems(config: Config) -> list[str]:
    """What keeps the parts from fitting together."""
    found = [f"unknown section {key}" for key in config if key not in {*KNOWN, "service"}]
    service = config["service"]
    uses = {"extensions": set(service.get("extensions", []))}
    for name, pipeline in service["pipelines"].items():
        if name.partition("/")[0] not in {"traces", "metrics", "logs"}:
            found.append(f"unknown signal {name}")
        for section in ("receivers", "processors", "exporters"):
            uses.setdefault(section, set()).update(pipeline.get(section, []))
        found += [f"{name} has no {s}" for s in ("receivers", "exporters") if not pipeline.get(s)]
        found += [
            f"unknown part {key} of {name}" for key in pipeline if key not in {*uses, "extensions"}
        ]
    for section, known in KNOWN.items():
        defined = config.get(section, {})
        used = uses[section]
        found += [f"{section}: {name} is used, not defined" for name in used - defined.keys()]
        found += [f"{section}: {name} is defined, not used" for name in defined.keys() - used]
        found += [
            f"{section}: {name} is not in the distribution"
            for name in defined
            if name.partition("/")[0] not in known
        ]
    return found


@pytest.fixture(scope="module")
def text() -> str:
    return PATH.read_text(encoding="utf-8")


@pytest.fixture
def config(text: str) -> Config:
    loaded: Config = yaml.safe_load(text)
    return loaded


def test_every_part_is_defined_and_used(config: Config) -> None:
    assert problems(config) == []


@pytest.mark.parametrize(
    "path",
    [
        ("processors", "batch"),
        ("exporters", "prometheus"),
        ("extensions", "health_check"),
        ("service", "pipelines", "traces"),
        ("service", "pipelines", "metrics", "exporters"),
    ],
)
def test_a_misspelt_key_is_noticed(config: Config, path: tuple[str, ...]) -> None:
    wrong = copy.deepcopy(config)
    holder = wrong
    for part in path[:-1]:
        holder = holder[part]
    holder[f"{path[-1]}x"] = holder.pop(path[-1])
    assert problems(wrong) != []


def test_the_order_of_processors(config: Config) -> None:
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"
    pipelines = config["service"]["pipelines"]
    assert "probabilistic_sampler" in pipelines["traces"]["processors"]
    # A share of the metrics would be wrong numbers.
    assert "probabilistic_sampler" not in pipelines["metrics"]["processors"]
    assert "prometheus" in pipelines["metrics"]["exporters"]


def endpoints(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["endpoint"]] if isinstance(value.get("endpoint"), str) else []
        return own + [e for inner in value.values() for e in endpoints(inner)]
    return []


def test_it_listens_on_loopback_unless_told_otherwise(config: Config) -> None:
    (container,) = one(render("k8s/base"), "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {str(port["containerPort"]) for port in container["ports"]}
    found = endpoints(config)
    host = "${env:OTEL_COLLECTOR_HOST:-127.0.0.1}:"
    assert all(endpoint.startswith(host) for endpoint in found)
    assert {endpoint.removeprefix(host) for endpoint in found} == ports


def test_the_deployment_sets_every_variable(text: str) -> None:
    (container,) = one(render("k8s/base"), "Deployment")["spec"]["template"]["spec"]["containers"]
    given = {entry["name"] for entry in container["env"]}
    asked = set(re.findall(r"\$\{env:(\w+)", text))
    assert asked == {"OTEL_COLLECTOR_HOST", "TRACE_SAMPLING_PERCENTAGE"}
    assert asked <= given
    # All have a default, so that the file works by itself.
    assert len(re.findall(r"\$\{env:\w+:-[^}]+\}", text)) == len(re.findall(r"\$\{env:", text))


def test_the_backend_in_the_comments_works_when_it_is_uncommented(text: str) -> None:
    block = re.search(r"(?m)^  # otlp_grpc/backend:\n(?:  #   .*\n)+", text)
    assert block
    opened = text.replace(block[0], re.sub(r"(?m)^  # ", "  ", block[0]))
    config: Config = yaml.safe_load(opened)
    assert problems(config) == ["exporters: otlp_grpc/backend is defined, not used"]
    config["service"]["pipelines"]["traces"]["exporters"].append("otlp_grpc/backend")
    assert problems(config) == []

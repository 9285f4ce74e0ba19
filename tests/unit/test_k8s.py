"""What k8s/ renders to is valid, layer by layer, and each layer notices a misspelt key."""

from __future__ import annotations

import copy
import os
import pathlib
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.protocols import Validator

from serve_app.config import IMPORT_PATH, Settings, parse_settings
from serve_app.engines.registry import create
from serve_app.errors import ConfigError
from serve_app.rayconfig import check_serve_config
from tests.manifests import (
    ROOT,
    Manifest,
    as_pod,
    check_core,
    containers,
    leaves,
    of_kind,
    one,
    pod_templates,
    ray_service_validator,
    render,
    serve_config,
)

Path = tuple[str | int, ...]

# Maps whose keys are anyone's choice; every other key is named by a schema.
FREE_MAPS = {"labels", "annotations", "matchLabels", "rayStartParams", "limits", "requests"}
KINDS = {"Deployment", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget"}

KUSTOMIZATIONS = ("k8s/base", "k8s/overlays/simulated", "k8s/models")
SERVICES = ("k8s/base", "k8s/overlays/simulated")

# What a cluster needs otherwise than one machine does, and nothing else.
DIFFERENCES = {
    "k8s/base": (
        "configs/vibevoice-1.5b.yaml",
        {
            "http_options.host",
            "applications.0.args.voices.path",
            "applications.0.args.replicas",
            "applications.0.args.jobs",  # the usual ones there, so that these two are more
            "applications.0.args.jobs.store",
            "applications.0.args.jobs.max_gib",
            "applications.0.args.access.keys",
            "applications.0.args.access.keys_file",
            "applications.0.args.access.drain_timeout_s",
        },
    ),
    "k8s/overlays/simulated": (
        "configs/simulated-8.yaml",
        {
            "proxy_location",
            "http_options.host",
            "applications.0.args.replicas",
            "applications.0.args.replica_cpus",
            "applications.0.args.telemetry.simulated_cards_per_node",
            "applications.0.args.jobs",  # they need a volume that is written to
            "applications.0.args.access.keys",
            "applications.0.args.access.keys_file",
        },
    ),
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Manifest]]:
    return {folder: render(folder) for folder in KUSTOMIZATIONS}


@pytest.fixture(scope="module")
def validator() -> Validator:
    return ray_service_validator()


def settings_of(config: dict[str, Any]) -> Settings:
    (application,) = config["applications"]
    assert application["import_path"] == IMPORT_PATH
    return parse_settings(application["args"])


def key_paths(value: object, place: Path = ()) -> list[Path]:
    """The path of every key in *value*, but for those of :data:`FREE_MAPS`."""
    if isinstance(value, list):
        return [path for n, inner in enumerate(value) for path in key_paths(inner, (*place, n))]
    if not isinstance(value, dict):
        return []
    own = [] if place and place[-1] in FREE_MAPS else [(*place, key) for key in value]
    return own + [path for key in value for path in key_paths(value[key], (*place, key))]


def misspelt(value: Any, path: Path) -> Any:
    """A copy of *value* with the key at *path* misspelt."""
    result = copy.deepcopy(value)
    holder = result
    for part in path[:-1]:
        holder = holder[part]
    holder[f"{path[-1]}x"] = holder.pop(path[-1])
    return result


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_core_kinds_fit_kubernetes(folder: str, rendered: dict[str, list[Manifest]]) -> None:
    core = [manifest for manifest in rendered[folder] if manifest["kind"] != "RayService"]
    assert core
    for manifest in core:
        check_core(manifest)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_pod_templates_fit_kubernetes(folder: str, rendered: dict[str, list[Manifest]]) -> None:
    templates = list(pod_templates(rendered[folder]))
    assert templates
    for _, template in templates:
        check_core(as_pod(template))


@pytest.mark.parametrize("folder", SERVICES)
def test_the_ray_service_fits_its_crd(
    folder: str, rendered: dict[str, list[Manifest]], validator: Validator
) -> None:
    service = one(rendered[folder], "RayService")
    assert [error.message for error in validator.iter_errors(service)] == []
    # The CRD leaves metadata to Kubernetes, where it is the same for every kind.
    check_core({"apiVersion": "v1", "kind": "ConfigMap", "metadata": service["metadata"]})


@pytest.mark.parametrize("folder", SERVICES)
def test_the_serve_config_fits_ray_and_us(folder: str, rendered: dict[str, list[Manifest]]) -> None:
    config = serve_config(one(rendered[folder], "RayService"))
    check_serve_config(config)
    assert settings_of(config).replicas != "every_card"


@pytest.mark.parametrize("folder", SERVICES)
def test_the_serve_config_is_that_of_configs(
    folder: str, rendered: dict[str, list[Manifest]]
) -> None:
    source, allowed = DIFFERENCES[folder]
    ours = leaves(serve_config(one(rendered[folder], "RayService")))
    theirs = leaves(yaml.safe_load((ROOT / source).read_text(encoding="utf-8")))
    changed = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    assert changed == allowed


async def test_the_simulated_engine_takes_the_overlays_options(
    rendered: dict[str, list[Manifest]],
) -> None:
    service = one(rendered["k8s/overlays/simulated"], "RayService")
    engine = settings_of(serve_config(service)).engine
    made = create(engine.kind, {"slots": engine.slots, **engine.options})
    await made.close()
    with pytest.raises(ConfigError, match="real_time_factorx"):
        create(engine.kind, {"slots": engine.slots, "real_time_factorx": 0.1})


def test_every_misspelt_key_of_the_ray_service_is_caught(
    rendered: dict[str, list[Manifest]], validator: Validator
) -> None:
    service = one(rendered["k8s/base"], "RayService")
    paths = [path for path in key_paths(service) if path[0] == "spec"]
    assert len(paths) > 150
    missed = [path for path in paths if validator.is_valid(misspelt(service, path))]
    assert missed == []


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_misspelt_key_of_a_core_kind_is_caught(
    data: st.DataObject, rendered: dict[str, list[Manifest]]
) -> None:
    manifests = [manifest for manifest in rendered["k8s/base"] if manifest["kind"] in KINDS]
    manifest = data.draw(st.sampled_from(manifests))
    # These two choose the schema itself.
    paths = [path for path in key_paths(manifest) if path not in {("apiVersion",), ("kind",)}]
    wrong = misspelt(manifest, data.draw(st.sampled_from(paths)))
    with pytest.raises(kubernetes_validate.ValidationError):
        check_core(wrong)


def test_every_misspelt_key_of_the_serve_config_is_caught(
    rendered: dict[str, list[Manifest]],
) -> None:
    config = serve_config(one(rendered["k8s/base"], "RayService"))
    # The engine's own options are checked by the engine.
    paths = [path for path in key_paths(config) if path[-2:-1] != ("options",)]
    assert len(paths) > 15
    for path in paths:
        wrong = misspelt(config, path)
        with pytest.raises(ConfigError):
            check_serve_config(wrong)
            parse_settings(wrong["applications"][0]["args"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("enableInTreeAutoscaling",), "yes"),
        (("authOptions", "mode"), "tokens"),
        (("workerGroupSpecs", 0, "maxReplicas"), "8"),
    ],
)
def test_a_value_of_the_wrong_type_is_caught(
    path: tuple[str | int, ...],
    value: object,
    rendered: dict[str, list[Manifest]],
    validator: Validator,
) -> None:
    service = copy.deepcopy(one(rendered["k8s/base"], "RayService"))
    holder: Any = service["spec"]["rayClusterConfig"]
    for part in path[:-1]:
        holder = holder[part]
    assert holder[path[-1]] != value
    holder[path[-1]] = value
    assert not validator.is_valid(service)


def test_server_defaults_and_duplicates(
    rendered: dict[str, list[Manifest]], validator: Validator
) -> None:
    service = copy.deepcopy(one(rendered["k8s/base"], "RayService"))
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    del group["minReplicas"]
    del group["maxReplicas"]
    assert validator.is_valid(service)
    del group["groupName"]
    assert not validator.is_valid(service)
    group["groupName"] = "cards"
    ports = group["template"]["spec"]["containers"][0]["ports"]
    ports.append({**ports[0], "name": "again"})
    assert not validator.is_valid(service)


def test_the_overlay_in_the_readme_works(tmp_path: pathlib.Path) -> None:
    text = (ROOT / "k8s" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    base = os.path.relpath(ROOT / "k8s" / "base", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(block.replace("../../base", base))
    manifests = render(str(tmp_path))
    claims = of_kind(manifests, "PersistentVolumeClaim")
    assert {claim["metadata"]["name"] for claim in claims} == {"models", "data"}
    assert {claim["spec"]["storageClassName"] for claim in claims} == {"shared-files"}
    ours = [c["image"] for _, c in containers(manifests) if "vibevoice" in c.get("image", "")]
    assert ours == ["REGISTRY/vibevoice-serve:0.1.0"] * 2

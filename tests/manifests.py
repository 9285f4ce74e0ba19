"""Kubernetes manifests as the API server would see them: rendered by kubectl, checked offline.

Core kinds are held against Kubernetes' own schemas (``kubernetes-validate``, strict: unknown keys
are errors). A RayService is held against the schema of its CRD, closed against unknown keys, and
its pod templates once more against Kubernetes' schema of a Pod. CEL rules of the CRD
(``x-kubernetes-validations``) are not evaluated; they are about fields that are not used here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft4Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

ROOT = Path(__file__).parents[1]
CRD = ROOT / "tests" / "data" / "k8s" / "ray.io_rayservices.yaml"
"""The CRD of KubeRay 1.7.0, as its release carries it."""

KUBERNETES_VERSIONS = ("1.32", "1.37")
"""The oldest and the newest that manifests are checked for."""

Manifest = dict[str, Any]


def render(folder: str) -> list[Manifest]:
    """The manifests of a kustomization; *folder* is relative to the repository."""
    beside_python = str(Path(sys.executable).parent)
    kubectl = shutil.which("kubectl", path=os.pathsep.join([beside_python, os.environ["PATH"]]))
    if kubectl is None:
        pytest.fail("there is no kubectl; the extra dev installs one")
    done = subprocess.run(
        [kubectl, "kustomize", str(ROOT / folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode or done.stderr:
        pytest.fail(f"kubectl kustomize {folder} said: {done.stderr}")
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests: list[Manifest], kind: str) -> Manifest:
    """The only one of its kind."""
    (found,) = of_kind(manifests, kind)
    return found


def ray_groups(service: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Head and worker groups of a RayService, by name."""
    cluster = service["spec"]["rayClusterConfig"]
    yield "head", cluster["headGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group


def pod_templates(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod template with a name for messages."""
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] in {"Deployment", "Job"}:
            yield name, manifest["spec"]["template"]
        elif manifest["kind"] == "RayService":
            for group, spec in ray_groups(manifest):
                yield f"{name}/{group}", spec["template"]


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every container with a name for messages, the autoscaler that KubeRay makes included."""
    for name, template in pod_templates(manifests):
        spec = template["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{name}/{container['name']}", container
    for service in of_kind(manifests, "RayService"):
        yield "autoscaler", service["spec"]["rayClusterConfig"]["autoscalerOptions"]


def serve_config(service: Manifest) -> dict[str, Any]:
    """The Serve config that a RayService carries as text."""
    parsed = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert isinstance(parsed, dict)
    return parsed


def leaves(value: object, place: str = "") -> dict[str, object]:
    """Values by dotted path."""
    if isinstance(value, dict) and value:
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list) and value:
        items = [(str(number), inner) for number, inner in enumerate(value)]
    else:
        return {place: value}
    return {
        path: leaf
        for key, inner in items
        for path, leaf in leaves(inner, f"{place}.{key}" if place else key).items()
    }


def closed(schema: Any) -> Any:
    """A structural schema as the API server applies it in strict mode.

    Unknown keys are errors unless the schema leaves its object open, and what has a default is not
    required, because the server fills it in before it looks.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    properties = schema.get("properties")
    # "properties" may also be the name of a field, whose value is then a schema itself.
    if not isinstance(properties, dict) or schema.get("type") != "object":
        return result
    is_open = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if not is_open and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    given = {name for name, inner in properties.items() if "default" in inner}
    result["required"] = [name for name in schema.get("required", []) if name not in given]
    if not result["required"]:  # draft 4 forbids an empty list
        del result["required"]
    return result


def _unique_keys(
    validator: Validator, keys: list[str], items: object, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """``x-kubernetes-list-map-keys``: no two items of such a list agree in all *keys*."""
    if not isinstance(items, list):
        return
    defaults = {
        name: inner["default"]
        for name, inner in schema["items"]["properties"].items()
        if "default" in inner
    }
    seen = [json.dumps([{**defaults, **item}.get(key) for key in keys]) for item in items]
    for name in {entry for entry in seen if seen.count(entry) > 1}:
        yield ValidationError(f"{name} occurs more than once in a list keyed by {keys}")


def ray_service_validator() -> Validator:
    """Checks a RayService, but for ``metadata``, which the CRD leaves to Kubernetes."""
    crd = yaml.load(CRD.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    (version,) = (v for v in crd["spec"]["versions"] if v["name"] == "v1")
    strict = extend(Draft4Validator, {"x-kubernetes-list-map-keys": _unique_keys})
    return strict(closed(version["schema"]["openAPIV3Schema"]))


def check_core(manifest: Manifest) -> None:
    """Hold one manifest of a core kind against Kubernetes' schemas.

    Raises:
        kubernetes_validate.ValidationError: It does not fit one of the versions.
    """
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def as_pod(template: Manifest) -> Manifest:
    """A pod template as a Pod, for :func:`check_core`."""
    metadata = {"name": "from-template", **template.get("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

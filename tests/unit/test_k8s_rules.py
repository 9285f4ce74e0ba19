"""What k8s/ promises beyond being valid: who may do what, and that the parts name each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ray
import yaml
from ray._private import ray_constants
from ray.serve._private import constants as serve_constants
from ray.serve._private.constants import PROXY_DRAIN_CHECK_PERIOD_S, PROXY_MIN_DRAINING_PERIOD_S

from serve_app.config import parse_settings
from serve_app.core.estimate import speech_s
from serve_app.local import RAY_ENVIRONMENT
from serve_app.transport import HaProxy, best_transport
from telemetry.otel import IMPORT_PATH, tracing_environment
from tests.manifests import (
    ROOT,
    Manifest,
    containers,
    of_kind,
    one,
    pod_templates,
    ray_groups,
    render,
    serve_config,
)

REPLACEMENT_S = 60
"""For a replica to start on another pod."""
KUSTOMIZATIONS = ("k8s/base", "k8s/overlays/simulated", "k8s/models")
SERVICES = ("k8s/base", "k8s/overlays/simulated")
SECRET = re.compile(r"token|password|passwd|secret|credential|api_?key", re.IGNORECASE)


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Manifest]]:
    return {folder: render(folder) for folder in KUSTOMIZATIONS}


@pytest.fixture(params=KUSTOMIZATIONS)
def manifests(
    request: pytest.FixtureRequest, rendered: dict[str, list[Manifest]]
) -> list[Manifest]:
    return rendered[request.param]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, rendered: dict[str, list[Manifest]]) -> list[Manifest]:
    return rendered[request.param]


def config_map(manifests: list[Manifest], prefix: str) -> Manifest:
    (found,) = (
        m for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].startswith(prefix)
    )
    return found


def test_every_pod_is_restricted(manifests: list[Manifest]) -> None:
    templates = list(pod_templates(manifests))
    assert templates
    for name, template in templates:
        spec = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        allowed = {"name", "emptyDir", "configMap", "projected", "persistentVolumeClaim", "secret"}
        assert all(volume.keys() <= allowed for volume in spec["volumes"]), name


def test_every_container_is_restricted(manifests: list[Manifest]) -> None:
    for name, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        resources = container["resources"]
        for part in ("requests", "limits"):
            assert {"cpu", "memory"} <= resources[part].keys(), name


def test_no_pod_gets_a_token_unasked(manifests: list[Manifest]) -> None:
    for name, template in pod_templates(manifests):
        assert template["spec"]["automountServiceAccountToken"] is False, name
    for account in of_kind(manifests, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    holders = [
        name
        for name, container in containers(manifests)
        if any(mount["mountPath"] == token for mount in container["volumeMounts"])
    ]
    assert holders == ["autoscaler"] * len(of_kind(manifests, "RayService"))


def test_no_secret_is_written_down(manifests: list[Manifest]) -> None:
    assert of_kind(manifests, "Secret") == []
    for name, container in containers(manifests):
        for variable in container.get("env", []):
            assert not SECRET.search(variable["name"]), f"{name}: {variable['name']}"
    for map_ in of_kind(manifests, "ConfigMap"):
        assert not [key for key in map_["data"] if SECRET.search(key)]
    for found in of_kind(manifests, "RayService"):
        auth = found["spec"]["rayClusterConfig"]["authOptions"]
        assert auth == {"mode": "token", "secretName": "ray-token"}


def test_images_are_pinned(manifests: list[Manifest]) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', text, re.MULTILINE)
    for name, container in containers(manifests):
        if name == "autoscaler":  # takes the head's image
            assert "image" not in container
            continue
        image, _, tag = container["image"].partition(":")
        assert re.match(r"\d+\.\d+\.\d+", tag), name
        if image == "vibevoice-serve":
            assert tag.partition("-")[0] == version, name


def test_mounts_accounts_and_claims_exist(manifests: list[Manifest]) -> None:
    accounts = {account["metadata"]["name"] for account in of_kind(manifests, "ServiceAccount")}
    claims = {claim["metadata"]["name"] for claim in of_kind(manifests, "PersistentVolumeClaim")}
    maps = {map_["metadata"]["name"] for map_ in of_kind(manifests, "ConfigMap")}
    maps.add("kube-root-ca.crt")  # Kubernetes puts it into every namespace
    for name, template in pod_templates(manifests):
        spec = template["spec"]
        assert spec.get("serviceAccountName") in accounts | {None}, name
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
        for volume in spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims, name
            sources = [volume, *volume.get("projected", {}).get("sources", [])]
            assert {s["configMap"]["name"] for s in sources if "configMap" in s} <= maps, name
    for found in of_kind(manifests, "RayService"):
        (head,) = (spec for group, spec in ray_groups(found) if group == "head")
        mounts = found["spec"]["rayClusterConfig"]["autoscalerOptions"]["volumeMounts"]
        offered = {volume["name"] for volume in head["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in mounts} <= offered


def test_tmp_can_be_written(manifests: list[Manifest]) -> None:
    for name, template in pod_templates(manifests):
        if "otel-collector" in name:  # writes nothing
            continue
        spec = template["spec"]
        scratch = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
        for container in spec["containers"]:
            places = {m["mountPath"] for m in container["volumeMounts"] if m["name"] in scratch}
            assert "/tmp" in places, name


def test_the_head_does_no_work(service: list[Manifest]) -> None:
    found = one(service, "RayService")
    groups = dict(ray_groups(found))
    assert groups["head"]["rayStartParams"]["num-cpus"] == "0"
    assert found["spec"]["excludeHeadPodFromServeSvc"] is True
    for container in groups["head"]["template"]["spec"]["containers"]:
        for part in container["resources"].values():
            assert not [resource for resource in part if "gpu" in resource]


def cards_a_pod(group: Manifest) -> int:
    (container,) = group["template"]["spec"]["containers"]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert limits.get("nvidia.com/gpu") == requests.get("nvidia.com/gpu")
    return int(limits.get("nvidia.com/gpu", 0))


def test_the_workers_offer_the_cards_that_the_application_asks_for(
    rendered: dict[str, list[Manifest]],
) -> None:
    found = one(rendered["k8s/base"], "RayService")
    (group,) = found["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    cards = cards_a_pod(group)
    settings = parse_settings(serve_config(found)["applications"][0]["args"])
    assert isinstance(settings.replicas, int)
    assert group["minReplicas"] * cards <= settings.replicas <= group["maxReplicas"] * cards
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in group[
        "template"
    ]["spec"]["tolerations"]
    engine = settings.engine.options["model"]
    (container,) = group["template"]["spec"]["containers"]
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "models")
    assert Path(engine).is_relative_to(mount["mountPath"])
    assert mount["readOnly"] is True
    (job,) = dict(pod_templates(rendered["k8s/models"])).values()
    assert engine in job["spec"]["containers"][0]["args"]


def test_the_simulated_overlay_needs_no_card_and_says_so(
    rendered: dict[str, list[Manifest]],
) -> None:
    manifests = rendered["k8s/overlays/simulated"]
    found = one(manifests, "RayService")
    (group,) = found["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert cards_a_pod(group) == 0
    assert "tolerations" not in group["template"]["spec"]
    assert of_kind(manifests, "PersistentVolumeClaim") == []
    settings = parse_settings(serve_config(found)["applications"][0]["args"])
    assert (settings.cards, settings.engine.kind) == ("simulated", "simulated")
    # As many simulated cards as replicas, and CPUs enough for them and the ingress (0.1).
    assert isinstance(settings.replicas, int)
    pods = group["maxReplicas"]
    assert settings.replicas == pods * settings.telemetry.simulated_cards_per_node
    cpus = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert settings.replicas / pods * settings.replica_cpus + 0.1 <= cpus
    (collector,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    variables = {entry["name"]: entry.get("value") for entry in collector["env"]}
    assert variables["OTEL_RESOURCE_ATTRIBUTES"] == "deployment.environment.name=simulated"


def test_the_environment_reaches_every_ray_process(service: list[Manifest]) -> None:
    found = one(service, "RayService")
    environment = config_map(service, "ray-environment")
    reference = [{"configMapRef": {"name": environment["metadata"]["name"]}}]
    for name, group in ray_groups(found):
        for container in group["template"]["spec"]["containers"]:
            assert container["envFrom"] == reference, name
    autoscaler = found["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert autoscaler["envFrom"] == reference
    data = environment["data"]
    assert data["RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"] == IMPORT_PATH
    assert data["RAY_SERVE_TRACING_SAMPLING_RATIO"] == "1.0"
    # Whatever the service itself would set for tracing is there already.
    assert tracing_environment(data) == {}
    for variable in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        assert data[variable] == RAY_ENVIRONMENT[variable]
    assert data["HF_HUB_OFFLINE"] == "1"


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_http_comes_in_as_on_one_machine(service: list[Manifest], tmp_path: Path) -> None:
    data = config_map(service, "ray-environment")["data"]
    here = HaProxy.open(tmp_path).environment()
    same = {name for name in data if here.get(name) == data[name]}
    assert same == {
        "RAY_SERVE_ENABLE_HA_PROXY",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE",
    }
    # A HAProxy that another one has followed must not cut off the longest stream there is.
    longest_s = one(service, "RayService")["spec"]["rayClusterDeletionDelaySeconds"]
    assert int(data["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= longest_s
    for name in data:
        if name.startswith(("RAY_SERVE_HAPROXY", "RAY_SERVE_ENABLE", "RAY_SERVE_THROUGHPUT")):
            assert hasattr(serve_constants, name), name


def test_spans_say_which_pod_they_come_from(service: list[Manifest]) -> None:
    for name, group in ray_groups(one(service, "RayService")):
        for container in group["template"]["spec"]["containers"]:
            *fields, attributes = container["env"]
            assert attributes["name"] == "OTEL_RESOURCE_ATTRIBUTES", name
            paths = {f["name"]: f["valueFrom"]["fieldRef"]["fieldPath"] for f in fields}
            said = {
                key: paths[variable]
                for key, variable in re.findall(r"([\w.]+)=\$\((\w+)\)", attributes["value"])
            }
            assert said == {
                "k8s.namespace.name": "metadata.namespace",
                "k8s.node.name": "spec.nodeName",
                "k8s.pod.name": "metadata.name",
                "k8s.pod.uid": "metadata.uid",
            }, name


def test_the_collector_is_where_the_environment_says(service: list[Manifest]) -> None:
    found = one(service, "Service")
    template = one(service, "Deployment")["spec"]["template"]
    assert found["spec"]["selector"] == template["metadata"]["labels"]
    (container,) = template["spec"]["containers"]
    numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
    for port in found["spec"]["ports"]:
        assert numbers[port["targetPort"]] == port["port"]
    http = next(port for port in found["spec"]["ports"] if port["name"] == "otlp-http")
    endpoint = config_map(service, "ray-environment")["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == f"http://{found['metadata']['name']}:{http['port']}"


def test_the_collectors_config_is_that_of_configs(service: list[Manifest]) -> None:
    held = config_map(service, "otel-collector")["data"]["otel-collector.yaml"]
    assert held == (ROOT / "configs" / "otel-collector.yaml").read_text(encoding="utf-8")


def test_ray_is_the_version_that_is_installed(service: list[Manifest]) -> None:
    found = one(service, "RayService")
    assert found["spec"]["rayClusterConfig"]["rayVersion"] == ray.__version__


def test_the_old_cluster_outlives_the_longest_request(service: list[Manifest]) -> None:
    spec = one(service, "RayService")["spec"]
    config = yaml.safe_load((ROOT / "configs" / "vibevoice-1.5b.yaml").read_text(encoding="utf-8"))
    limit = config["applications"][0]["args"]["speech"]["max_input_characters"]
    sentence = "The quick brown fox jumps over the lazy dog, and nobody minds. "
    longest = (sentence * (limit // len(sentence) + 1))[:limit]
    assert spec["rayClusterDeletionDelaySeconds"] > speech_s(longest)


def test_a_worker_that_is_told_to_end_has_time_to_drain(service: list[Manifest]) -> None:
    """What a replica may take, within what Ray waits, within what Kubernetes does."""
    data = config_map(service, "ray-environment")["data"]
    found = one(service, "RayService")
    drain_s = parse_settings(serve_config(found)["applications"][0]["args"]).access.drain_timeout_s
    ray_s = float(data["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    # Ray reads the variable under this name, in the process that Kubernetes ends.
    assert hasattr(ray_constants, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S")
    workers = [group for name, group in ray_groups(found) if name != "head"]
    for group in workers:
        spec = group["template"]["spec"]
        assert drain_s + REPLACEMENT_S <= ray_s < spec["terminationGracePeriodSeconds"] - 10
        for container in spec["containers"]:
            # KubeRay writes both; whatever stood here would be the first process instead.
            assert not {"command", "args", "lifecycle"} & container.keys()
    # A proxy that drains is unready at once, and Serve looks at it for this long at least.
    assert ray_s > PROXY_MIN_DRAINING_PERIOD_S + 2 * PROXY_DRAIN_CHECK_PERIOD_S


def test_disruption_budgets_are_numbers_about_existing_pods(service: list[Manifest]) -> None:
    groups = dict(ray_groups(one(service, "RayService")))
    pods = {1: [groups["head"]], groups["cards"]["minReplicas"]: [groups["cards"]]}
    budgets = of_kind(service, "PodDisruptionBudget")
    assert len(budgets) == 2
    for budget in budgets:
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        counts = [
            count
            for count, members in pods.items()
            if all(wanted <= group["template"]["metadata"]["labels"].items() for group in members)
        ]
        assert len(counts) == 1
        assert isinstance(budget["spec"]["minAvailable"], int)
        assert budget["spec"]["minAvailable"] <= counts[0]

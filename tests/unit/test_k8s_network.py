"""Who reaches whom under the network policies, worked out as Kubernetes defines it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.manifests import Manifest, of_kind, one, pod_templates, ray_groups, render


@dataclass(frozen=True)
class Peer:
    """A pod somewhere; ``namespace`` None stands for an address outside the cluster."""

    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector; an empty one selects everything."""
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def names(entry: Mapping[str, Any], peer: Peer, home: str) -> bool:
    """Whether one entry of ``from`` or ``to`` means *peer*."""
    if peer.namespace is None:
        return False
    if "namespaceSelector" in entry:
        if not selects(entry["namespaceSelector"], peer.namespace_labels):
            return False
    elif peer.namespace != home:
        return False
    return selects(entry.get("podSelector", {}), peer.labels)


def admits(rule: Mapping[str, Any], side: str, peer: Peer, home: str, port: int) -> bool:
    """Whether one rule lets *peer* through on a TCP port."""
    ports = rule.get("ports")
    if ports is not None and not any((p["protocol"], p["port"]) == ("TCP", port) for p in ports):
        return False
    peers = rule.get(side)
    return peers is None or any(names(entry, peer, home) for entry in peers)


def passes(policies: list[Manifest], direction: str, pod: Peer, other: Peer, port: int) -> bool:
    """Whether *pod*'s policies let traffic with *other* through in one direction."""
    side = {"Ingress": "from", "Egress": "to"}[direction]
    binding = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    return not binding or any(
        admits(rule, side, other, policy["metadata"]["namespace"], port)
        for policy in binding
        for rule in policy["spec"].get(direction.lower(), [])
    )


@dataclass(frozen=True)
class Network:
    """The rendered policies and the pods that they are about."""

    policies: list[Manifest]
    pods: Mapping[str, Peer]

    def reaches(self, source: str, target: str, port: int) -> bool:
        a, b = self.pods[source], self.pods[target]
        return passes(self.policies, "Egress", a, b, port) and passes(
            self.policies, "Ingress", b, a, port
        )


@pytest.fixture(scope="module", params=["k8s/base", "k8s/overlays/simulated"])
def network(request: pytest.FixtureRequest) -> Network:
    manifests = render(request.param)
    home = one(manifests, "Namespace")["metadata"]["name"]
    templates = {name.rpartition("/")[2]: template for name, template in pod_templates(manifests)}
    groups = dict(ray_groups(one(manifests, "RayService")))
    assert groups.keys() < templates.keys()
    own = {name: Peer(home, t["metadata"]["labels"]) for name, t in templates.items()}
    return Network(
        of_kind(manifests, "NetworkPolicy"),
        {
            **own,
            "neighbour": Peer(home, {"app": "shop"}),
            "stranger": Peer("elsewhere", {"app": "shop"}),
            "ingress": Peer("ingress", {"app": "nginx"}, {"vibevoice-serve/client": "true"}),
            "prometheus": Peer("metrics", {}, {"vibevoice-serve/monitoring": "true"}),
            "operator": Peer("kuberay-system", {"app.kubernetes.io/component": "kuberay-operator"}),
            "internet": Peer(),
        },
    )


@pytest.mark.parametrize(
    ("source", "target", "ports"),
    [
        ("head", "cards", (6379, 10002, 43210)),
        ("cards", "head", (6379, 8265, 10002, 43210)),
        ("cards", "cards", (10002, 43210)),
        ("head", "otel-collector", (4317, 4318)),
        ("cards", "otel-collector", (4317, 4318)),
        ("neighbour", "cards", (8000,)),
        ("ingress", "cards", (8000,)),
        ("operator", "head", (8265,)),
        ("prometheus", "head", (8080,)),
        ("prometheus", "cards", (8080,)),
        ("prometheus", "otel-collector", (8889,)),
        ("head", "internet", (443, 6443)),  # the API server, for the autoscaler
    ],
)
def test_open(network: Network, source: str, target: str, ports: tuple[int, ...]) -> None:
    assert [port for port in ports if not network.reaches(source, target, port)] == []


RAY = (6379, 8076, 8265, 10001, 10002, 43210, 52365)


@pytest.mark.parametrize(
    ("source", "target", "ports"),
    [
        ("neighbour", "head", (*RAY, 8000)),
        ("neighbour", "cards", RAY),
        ("stranger", "head", (*RAY, 8000, 8080)),
        ("stranger", "cards", (*RAY, 8000, 8080)),
        ("ingress", "head", (*RAY, 8000)),
        ("ingress", "cards", RAY),
        ("operator", "head", (6379, 10001)),
        ("prometheus", "cards", (*RAY, 8000)),
        ("stranger", "otel-collector", (4317, 4318, 8889, 13133)),
        ("neighbour", "otel-collector", (4317, 4318)),
        ("otel-collector", "internet", (443, 4317)),
        ("otel-collector", "head", RAY),
        ("cards", "internet", (80, 443, 6443)),
        ("cards", "neighbour", (80, 443, 5432)),
        ("head", "internet", (80, 22)),
    ],
)
def test_shut(network: Network, source: str, target: str, ports: tuple[int, ...]) -> None:
    assert [port for port in ports if network.reaches(source, target, port)] == []


@pytest.mark.parametrize("name", ["ray", "ray-head", "serve", "otel-collector"])
def test_no_policy_is_idle(network: Network, name: str) -> None:
    """Without any one of them a pod could do more, or something needed would be shut."""
    fewer = Network([p for p in network.policies if p["metadata"]["name"] != name], network.pods)
    ports = (443, 4318, 8000, 8265, 6379)
    everyone = network.pods
    changed = [
        (source, target, port)
        for source in everyone
        for target in everyone
        for port in ports
        if network.reaches(source, target, port) != fewer.reaches(source, target, port)
    ]
    assert changed

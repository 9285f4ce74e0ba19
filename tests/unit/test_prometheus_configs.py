"""The alert rules and the dashboard in configs/ ask for nothing that ``GET /metrics`` lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from telemetry.card_watch import ActiveAlert
from telemetry.core.alerts import Severity
from telemetry.core.request import RequestRecord
from telemetry.core.request_book import RequestBook
from telemetry.core.throttle import OTHER, REASONS
from telemetry.fleet_metrics import metrics_text
from telemetry.prometheus import name_of
from telemetry.readings import GUARD_STATES, OUTCOMES
from tests.manifests import ROOT
from tests.promql import asked
from tests.unit.test_instruments import INSTRUMENTS
from tests.unit.test_prometheus import cluster, node

OWN = {"up"}
"""What Prometheus itself tells of each scrape."""
EVERYWHERE = {"host_name", "ray_node_id", "job", "instance"}
VALUES = {
    "vibevoice_alert_severity": set(get_args(Severity)),
    "vibevoice_alert_outcome": set(OUTCOMES),
    "vibevoice_gpu_guard": set(GUARD_STATES),
    "vibevoice_gpu_throttle_reason": {*REASONS, OTHER},
    "hw_sensor_location": {"gpu", "memory"},
}
"""Labels whose values are known."""


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """The samples that /metrics tells where all is known, with the labels that each may have."""
    book = RequestBook()
    book.add(
        RequestRecord("piper", "m", False, 3.0, 0.4, 9.0, (("split", "bad_audio", 3),), 2, 0.5)
    )
    alert = ActiveAlert("x", "warning", "x", "n", "n", 1.0, "s", False)
    text = metrics_text(cluster(node("a")), requests=book.stats, fleet_alerts=[alert])
    declared = {
        name_of(i).removesuffix("_total"): {re.sub(r"\W", "_", name) for name in i.attributes}
        for i in INSTRUMENTS
    }
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = declared[family.name] | EVERYWHERE
            found[sample.name] = labels | ({"le"} if sample.name.endswith("_bucket") else set())
    return found


def rules() -> list[dict[str, Any]]:
    text = (ROOT / "configs" / "prometheus-rules.yaml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    text = (ROOT / "configs" / "grafana-dashboard.json").read_text(encoding="utf-8")
    board: dict[str, Any] = json.loads(text)
    return board


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def problems(expression: str, served: dict[str, set[str]]) -> list[str]:
    """Names in an expression that nobody tells."""
    told = asked(expression)
    known = {label for name, _ in told.metrics for label in served.get(name, EVERYWHERE)}
    found = [f"label {label} in a list" for label in told.labels - known]
    for name, matchers in told.metrics:
        if name not in served and name not in OWN:
            found.append(f"metric {name}")
            continue
        for label, text in matchers.items():
            if label not in served.get(name, EVERYWHERE):
                found.append(f"label {label} of {name}")
            wrong = set(text.split("|")) - VALUES.get(label, set(text.split("|")))
            found += [f"{label} is never {value}" for value in wrong]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_name_in_an_expression_is_served(
    expression: str, served: dict[str, set[str]]
) -> None:
    assert asked(expression).metrics
    assert problems(expression, served) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("hw_temperature > 80", "metric hw_temperature"),
        ("sum(rate(hw_energy_joules[5m]))", "metric hw_energy_joules"),
        ('hw_power_watts{host="a"}', "label host of hw_power_watts"),
        ("sum by (le) (hw_power_watts)", "label le in a list"),
        (
            'vibevoice_gpu_guard_state{vibevoice_gpu_guard="hot"}',
            "vibevoice_gpu_guard is never hot",
        ),
        ("max by (hw_id) (up offset 5m) unless on (hw_id) up", "label hw_id in a list"),
    ],
)
def test_names_that_drift_are_found(
    expression: str, problem: str, served: dict[str, set[str]]
) -> None:
    assert problems(expression, served) == [problem]


def test_rules_are_whole_and_can_be_told_apart() -> None:
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found) > 10
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in get_args(Severity)
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert set(rule["annotations"]) == {"summary", "description"}
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert named <= asked(rule["expr"]).labels


def test_both_severities_of_the_service_s_own_alerts_are_passed_on() -> None:
    passed = [
        matchers["vibevoice_alert_severity"]
        for rule in rules()
        for name, matchers in asked(rule["expr"]).metrics
        if name == "vibevoice_alerts_active"
    ]
    assert sorted(passed) == sorted(get_args(Severity))


def test_panels_lie_side_by_side_and_legends_name_what_is_there() -> None:
    panels, taken = dashboard()["panels"], set[tuple[int, int]]()
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & taken
        assert max(x for x, _ in own) < 24
        taken |= own
        for target in panel.get("targets", ()):
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= asked(target["expr"]).labels


def test_variables_of_the_dashboard_are_those_that_its_expressions_use(
    served: dict[str, set[str]],
) -> None:
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", " ".join(expressions()))) - {"__rate_interval"}
    assert used == set(variables) - {"datasource"}
    for name in used:
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables[name]["query"])
        assert found is not None
        assert found.group(2) in served[found.group(1)]

"""Settings of the guard, the alerts and the reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.config import parse_settings
from serve_app.errors import ConfigError
from serve_app.watching import report_schedule, telemetry_config
from telemetry.core.alert_rules import RULES
from telemetry.core.thermal import DEFAULT_RULES
from telemetry.watch_config import TelemetryConfig

BASE = {"engine": {"kind": "simulated"}, "cards": "simulated", "replicas": 2}


def watched(**telemetry: object) -> TelemetryConfig:
    return telemetry_config(parse_settings({**BASE, "telemetry": telemetry}))


def test_what_nobody_changes_is_the_table_of_the_guard_and_every_rule() -> None:
    config = watched()
    assert config.thermal == DEFAULT_RULES
    assert config.alerts == RULES
    assert (config.channels, config.simulated_cards) == ((), 2)


def test_limits_of_the_guard_and_of_alerts_can_be_changed() -> None:
    config = watched(
        thermal={"scale": "margin", "celsius": {"alert_c": 90.0}, "margin": {"pause_c": 4.0}},
        alerts={"language": "zh", "rules": {"card_hot": {"fire_above": 82}, "card_paused": None}},
    )
    assert (config.thermal.scale, config.thermal.celsius.alert) == ("margin", 90.0)
    assert config.thermal.margin.pause == -4.0
    rules = {rule.name: rule for rule in config.alerts}
    assert (rules["card_hot"].fire_above, rules["card_hot"].fire_for_s) == (82.0, 300.0)
    assert "card_paused" not in rules


def test_a_channels_url_comes_from_a_variable_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "wecom"
    secret.write_text("wecombot://KEY\n")
    monkeypatch.setenv("OPS_MAIL", "mailtos://user:pass@example.org")
    channels = [
        {"name": "mail", "url_env": "OPS_MAIL"},
        {"name": "wecom", "url_file": str(secret)},
        {"name": "hook", "url": "json://127.0.0.1/alerts"},
    ]
    config = watched(alerts={"channels": channels})
    assert [channel.url for channel in config.channels] == [
        "mailtos://user:pass@example.org",
        "wecombot://KEY",
        "json://127.0.0.1/alerts",
    ]


@pytest.mark.parametrize("source", [{"url_env": "NOT_SET_HERE"}, {"url_file": "nowhere/at/all"}])
def test_a_url_that_is_not_there_is_told_by_name(source: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"NOT_SET_HERE|nowhere"):
        watched(alerts={"channels": [{"name": "mail", **source}]})


@pytest.mark.parametrize(
    "telemetry",
    [
        {"thermal": {"celsius": {"pause_c": 60}}},
        {"thermal": {"margin": {"pause_c": 20}}},
        {"thermal": {"scale": "kelvin"}},
        {"alerts": {"rules": {"card_warm": None}}},
        {"alerts": {"rules": {"card_hot": {"above": 5}}}},
        {"alerts": {"rules": {"card_hot": {"clear_at": 99}}}},
        {"alerts": {"channels": [{"name": "two", "url": "a://b", "url_env": "X"}]}},
        {"alerts": {"channels": [{"name": "none"}]}},
        {"report": {"folder": "out", "every_h": 25}},
    ],
)
def test_settings_that_make_no_sense_are_refused(telemetry: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_settings({**BASE, "telemetry": telemetry})


def test_reports_are_written_where_and_when_a_config_says() -> None:
    assert report_schedule(parse_settings(BASE)) is None
    telemetry = {"report": {"folder": "out/reports", "every_h": 12}}
    schedule = report_schedule(parse_settings({**BASE, "telemetry": telemetry}))
    assert schedule is not None
    assert (schedule.folder, schedule.every_h) == (Path("out/reports"), 12.0)

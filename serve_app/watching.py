"""From the settings to what the nodes' telemetry and the cluster's watch are made with."""

from __future__ import annotations

from serve_app.config import Settings, channel_url
from telemetry.fleet_report import ReportSchedule
from telemetry.notify import Channel
from telemetry.watch_config import TelemetryConfig


def telemetry_config(settings: Settings) -> TelemetryConfig:
    """What each node watches.

    Raises:
        ConfigError: The URL of an alert channel can't be had.
    """
    watched = settings.telemetry
    return TelemetryConfig(
        cards=settings.cards,
        simulated_cards=settings.simulated_cards,
        period_s=watched.sample_period_s,
        slow_period_s=watched.slow_period_s,
        thermal=watched.thermal.rules(),
        alerts=watched.alerts.alert_rules(),
        channels=tuple(
            Channel(channel.name, channel_url(channel)) for channel in watched.alerts.channels
        ),
        language=watched.alerts.language,
    )


def report_schedule(settings: Settings) -> ReportSchedule | None:
    """When health reports are written by themselves."""
    report = settings.telemetry.report
    return None if report is None else ReportSchedule(report.folder, report.every_h)

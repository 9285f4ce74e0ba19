"""What a node watches and how, as an application asks for it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from telemetry.core.alert_rules import RULES
from telemetry.core.alerts import AlertRule
from telemetry.core.messages import Language
from telemetry.core.reader import CardSource
from telemetry.core.thermal import DEFAULT_RULES, ThermalRules
from telemetry.notify import Channel


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What a node watches and how often.

    Args:
        cards: ``nvml``, ``simulated`` or ``none``.
        simulated_cards: Cards per node where they are simulated.
        period_s: Seconds between two samples.
        stale_after_s: Age from which a sample says nothing about the present.
        slow_period_s: Seconds between two readings of what changes slowly: thresholds, limits,
            errors, processes.
        thermal: How cards are guarded against heat.
        alerts: What people want to be told.
        channels: Where they are told.
        language: In which language.
    """

    cards: CardSource = "nvml"
    simulated_cards: int = 1
    period_s: float = 1.0
    stale_after_s: float = 3.0
    slow_period_s: float = 15.0
    thermal: ThermalRules = DEFAULT_RULES
    alerts: tuple[AlertRule, ...] = RULES
    channels: tuple[Channel, ...] = ()
    language: Language = "en"


def changes(old: TelemetryConfig, new: TelemetryConfig) -> tuple[str, ...]:
    """Names of what differs; values may hold secrets."""
    names = [field.name for field in fields(TelemetryConfig)]
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))

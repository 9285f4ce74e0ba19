"""Settings of what is watched: samples, the thermal guard, alerts, reports.

Apart from :mod:`serve_app.config` for its size only; a part of the same strict models. Where a
channel's URL comes from the environment or a file, it is read when the application starts, so that
no config holds a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from telemetry.core.alert_rules import LimitChange, changed_rules
from telemetry.core.alerts import AlertRule
from telemetry.core.messages import Language
from telemetry.core.thermal import DEFAULT_RULES, HeatLimits, ThermalRules


class WatchModel(BaseModel):
    """Frozen, no unknown keys, described by the docstrings under its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


_CELSIUS, _MARGIN = DEFAULT_RULES.celsius, DEFAULT_RULES.margin


class CelsiusSettings(WatchModel):
    """Temperatures, deg C, at which a card is eased, paused, and let back."""

    ease_c: float = _CELSIUS.ease
    """From here on it takes half of its slots."""
    pause_c: float = _CELSIUS.pause
    """From here on it takes no new work."""
    resume_c: float = _CELSIUS.resume
    """Up to here a paused card takes half of its slots again."""
    reopen_c: float = _CELSIUS.reopen
    """Up to here an eased card takes all of them again."""
    alert_c: float = _CELSIUS.alert
    """Above it people are told."""


class MarginSettings(WatchModel):
    """The same as deg C that are left to the card's own slowdown point."""

    ease_c: float = -_MARGIN.ease
    pause_c: float = -_MARGIN.pause
    resume_c: float = -_MARGIN.resume
    reopen_c: float = -_MARGIN.reopen
    alert_c: float = -_MARGIN.alert


class ThermalSettings(WatchModel):
    """The guard that keeps new work from a hot card; see ``telemetry/core/thermal.py``."""

    scale: Literal["celsius", "margin"] = "celsius"
    """By temperature, or by the margin to the slowdown point where a card tells it."""
    celsius: CelsiusSettings = CelsiusSettings()
    margin: MarginSettings = MarginSettings()
    samples: int = Field(default=DEFAULT_RULES.samples, ge=1, le=60)
    """Hot samples in a row before anything is done."""
    hold_s: float = Field(default=DEFAULT_RULES.hold_s, ge=0, le=3600)
    """Seconds for which a card must be cool to be let back."""
    blind_after_s: float = Field(default=DEFAULT_RULES.blind_after_s, gt=0, le=3600)
    """Seconds without a reading from which a card is eased."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        self.rules()
        return self

    def rules(self) -> ThermalRules:
        """The rules as the guard takes them.

        Raises:
            ValueError: The limits are not in order.
        """
        celsius, margin = self.celsius, self.margin
        return ThermalRules(
            scale=self.scale,
            celsius=HeatLimits(
                celsius.ease_c, celsius.pause_c, celsius.resume_c, celsius.reopen_c, celsius.alert_c
            ),
            margin=HeatLimits.of_margins(
                ease=margin.ease_c,
                pause=margin.pause_c,
                resume=margin.resume_c,
                reopen=margin.reopen_c,
                alert=margin.alert_c,
            ),
            samples=self.samples,
            hold_s=self.hold_s,
            blind_after_s=self.blind_after_s,
        )


class ChannelSettings(WatchModel):
    """Where alerts go: an apprise URL, given here, by a variable or by a file."""

    name: str = Field(min_length=1)
    """For logs."""
    url: str | None = None
    """The URL itself; only where it holds no secret."""
    url_env: str | None = None
    """Environment variable that holds it, such as ``mailtos://user:password@host``."""
    url_file: Path | None = None
    """File that holds it, such as a mounted Kubernetes Secret with ``wecombot://KEY``."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.url, self.url_env, self.url_file)) != 1:
            raise ValueError(f"channel {self.name!r} needs one of url, url_env and url_file")
        return self


class LimitSettings(WatchModel):
    """New limits of an alert rule; what is left out stays as it is."""

    fire_above: float | None = None
    """Values above this are bad."""
    fire_for_s: float | None = Field(default=None, ge=0)
    """For how long they must be."""
    clear_at: float | None = None
    """Values up to this are good; at most ``fire_above``."""
    clear_for_s: float | None = Field(default=None, ge=0)
    """For how long they must be."""


class AlertSettings(WatchModel):
    """What people are told, and where."""

    channels: tuple[ChannelSettings, ...] = ()
    """None: alerts are only shown and logged."""
    language: Language = "en"
    """``en`` or ``zh``, of alerts and reports."""
    rules: dict[str, LimitSettings | None] = Field(default_factory=dict)
    """New limits by rule, or null to switch a rule off; see ``telemetry/core/alert_rules.py``."""

    @model_validator(mode="after")
    def _known_rules(self) -> Self:
        self.alert_rules()
        return self

    def alert_rules(self) -> tuple[AlertRule, ...]:
        """The rules with their new limits.

        Raises:
            ValueError: There is no such rule, or its limits contradict each other.
        """
        return changed_rules(
            {
                name: None
                if new is None
                else cast("LimitChange", new.model_dump(exclude_none=True))
                for name, new in self.rules.items()
            }
        )


class ReportSettings(WatchModel):
    """Health reports that are written by themselves."""

    folder: Path
    """Where ``report.html`` and ``report.md`` go, on the node of the cluster's watch."""
    every_h: float = Field(default=24.0, gt=0, le=24)
    """Hours between two reports, and the time that each is about."""

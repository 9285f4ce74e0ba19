"""How a row of the tables of alert rules is written."""

from __future__ import annotations

from telemetry.core.alerts import AlertRule, Severity


def rule_of(
    name: str,
    severity: Severity,
    *,
    watched: tuple[str, str],
    fire: tuple[float, float],
    clear: tuple[float, float],
    english: tuple[str, str],
    chinese: tuple[str, str],
) -> AlertRule:
    """A rule from pairs: signal and unit, limit and seconds twice, title and action twice."""
    return AlertRule(
        name=name,
        severity=severity,
        signal=watched[0],
        fire_above=fire[0],
        fire_for_s=fire[1],
        clear_at=clear[0],
        clear_for_s=clear[1],
        unit=watched[1],
        title=english[0],
        title_zh=chinese[0],
        action=english[1],
        action_zh=chinese[1],
    )

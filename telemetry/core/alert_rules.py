"""The alerts that every fleet has; a config may change limits and switch rules off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypedDict

from telemetry.core.alerts import AlertRule
from telemetry.core.card_rules import CARD_RULES
from telemetry.core.fleet_rules import FLEET_RULES


class LimitChange(TypedDict, total=False):
    """New limits of a rule; see :class:`~telemetry.core.alerts.AlertRule`."""

    fire_above: float
    fire_for_s: float
    clear_at: float
    clear_for_s: float


RULES: Final = (*CARD_RULES, *FLEET_RULES)
"""Every rule, by severity of the subject: cards first."""


def changed_rules(changes: Mapping[str, LimitChange | None]) -> tuple[AlertRule, ...]:
    """The rules after an operator's changes.

    Args:
        changes: New limits by rule, or None to switch the rule off.
    Raises:
        ValueError: A rule does not exist, or its limits contradict each other.
    """
    if unknown := set(changes) - {rule.name for rule in RULES}:
        raise ValueError(f"there is no alert rule {min(unknown)!r}")
    rules = []
    for rule in RULES:
        change = changes.get(rule.name, LimitChange())
        if change is not None:
            rules.append(replace(rule, **change))
    return tuple(rules)

"""The alerts that every fleet has, as a table; a config may change limits and switch rules off.

Times and limits follow what public monitors of GPU fleets use: temperatures above 80 and 85 C,
0.6 slowdowns a minute over ten minutes, five minutes of slowdown or power brake, a margin of 2 C
beyond the slowdown point, uncorrected memory errors, rows that can't be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypedDict

from telemetry.core.alerts import AlertRule, Severity


class LimitChange(TypedDict, total=False):
    """New limits of a rule; see :class:`~telemetry.core.alerts.AlertRule`."""

    fire_above: float
    fire_for_s: float
    clear_at: float
    clear_for_s: float


def _rule(
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


_CARD_RULES: Final = (
    _rule(
        "card_over_limit",
        "warning",
        watched=("over_alert_c", "C beyond the limit"),
        fire=(0.0, 3.0),
        clear=(-5.0, 60.0),
        english=(
            "card hotter than its guard's alert limit",
            "It takes no new work; see whether it cools once it is idle.",
        ),
        chinese=("显卡温度超过告警上限", "该卡已不接新任务，请确认空闲后是否降温。"),
    ),
    _rule(
        "card_hot",
        "warning",
        watched=("temp_c", "C"),
        fire=(80.0, 300.0),
        clear=(75.0, 60.0),
        english=("card hot", "Check fans, air flow and room; a lower power limit helps."),
        chinese=("显卡温度高", "检查风扇、风道和机房温度；降低功率上限会有帮助。"),
    ),
    _rule(
        "card_very_hot",
        "critical",
        watched=("temp_c", "C"),
        fire=(85.0, 60.0),
        clear=(80.0, 60.0),
        english=("card very hot", "Take load off the card now and check its cooling."),
        chinese=("显卡温度过高", "立即减轻该卡负载并检查散热。"),
    ),
    _rule(
        "card_beyond_slowdown",
        "critical",
        watched=("over_slowdown_c", "C"),
        fire=(2.0, 0.0),
        clear=(0.0, 60.0),
        english=("card beyond its slowdown point", "Stop work on the card and check its cooling."),
        chinese=("显卡超过降频温度", "停止该卡任务并检查散热。"),
    ),
    _rule(
        "card_slowed",
        "critical",
        watched=("slowdown", ""),
        fire=(0.0, 300.0),
        clear=(0.0, 60.0),
        english=("hardware holds the card's clocks down", "Check cooling and power of the card."),
        chinese=("硬件降频", "检查该卡散热和供电。"),
    ),
    _rule(
        "card_slows_often",
        "warning",
        watched=("slowdown_onsets", "in 10 min"),
        fire=(5.0, 0.0),
        clear=(2.0, 0.0),
        english=(
            "card slows down again and again",
            "Ease the card earlier or lower its power limit.",
        ),
        chinese=("显卡反复降频", "提前减载或降低功率上限。"),
    ),
    _rule(
        "card_power_brake",
        "warning",
        watched=("power_brake", ""),
        fire=(0.0, 300.0),
        clear=(0.0, 60.0),
        english=("power supply holds the card's clocks down", "Check power supply and cables."),
        chinese=("供电限制导致降频", "检查电源和供电线。"),
    ),
    _rule(
        "card_paused",
        "warning",
        watched=("paused", ""),
        fire=(0.0, 0.0),
        # A card that swings between paused and eased is one alert, not one every half minute.
        clear=(0.0, 60.0),
        english=(
            "card paused by the thermal guard",
            "It takes work again by itself once it is cool.",
        ),
        chinese=("温控已暂停该卡", "降温后会自动恢复接单。"),
    ),
    _rule(
        "card_lost",
        "critical",
        watched=("lost", ""),
        fire=(0.0, 5.0),
        clear=(0.0, 30.0),
        english=(
            "card can't be read",
            "Reset the card or restart the node; look at the kernel log.",
        ),
        chinese=("显卡丢失", "重置该卡或重启节点，并查看内核日志。"),
    ),
    _rule(
        "card_stale",
        "warning",
        watched=("sample_age_s", "s"),
        fire=(30.0, 0.0),
        clear=(5.0, 10.0),
        english=(
            "no readings from the card",
            "The driver may hang; look at the node's kernel log.",
        ),
        chinese=("显卡无读数", "驱动可能卡住，请查看该节点内核日志。"),
    ),
    _rule(
        "card_memory_full",
        "warning",
        watched=("memory_fill", "of its memory"),
        fire=(0.97, 60.0),
        clear=(0.93, 60.0),
        english=("card memory nearly full", "Lower the slots, or find what else runs on the card."),
        chinese=("显存将满", "减少并发槽位，或查找占用显存的其他程序。"),
    ),
    _rule(
        "card_xid",
        "critical",
        watched=("xid_critical", "in 10 min"),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=(
            "card reported a grave fault (Xid)",
            "Drain the node and reset or replace the card.",
        ),
        chinese=("显卡严重故障 (Xid)", "腾空节点，重置或更换该卡。"),
    ),
    _rule(
        "card_xid_contained",
        "warning",
        watched=("xid_warning", "in 10 min"),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=(
            "card reported a contained fault (Xid)",
            "Watch it; reset the card when it is idle.",
        ),
        chinese=("显卡已隔离故障 (Xid)", "持续观察，空闲时重置该卡。"),
    ),
    _rule(
        "card_ecc",
        "critical",
        watched=("ecc_uncorrected", "errors"),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=("uncorrected memory errors", "Reset the card; replace it if they come back."),
        chinese=("显存不可纠正错误", "重置该卡；若再次出现请更换。"),
    ),
    _rule(
        "card_row_pending",
        "warning",
        watched=("rows_pending", ""),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=("a memory row waits to be replaced", "Reset the card when it is idle."),
        chinese=("显存行待替换", "空闲时重置该卡。"),
    ),
    _rule(
        "card_row_failed",
        "critical",
        watched=("rows_failed", ""),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=("a memory row could not be replaced", "Replace the card."),
        chinese=("显存行替换失败", "更换该卡。"),
    ),
)

_FLEET_RULES: Final = (
    _rule(
        "node_silent",
        "critical",
        watched=("silent_s", "s"),
        fire=(30.0, 0.0),
        clear=(5.0, 10.0),
        english=(
            "no answer from a node's telemetry",
            "See whether the node is up and in the cluster.",
        ),
        chinese=("节点遥测无应答", "检查节点是否在线并在集群中。"),
    ),
    _rule(
        "cards_missing",
        "critical",
        watched=("cards_missing", "cards"),
        fire=(0.0, 60.0),
        clear=(0.0, 60.0),
        english=("a node shows fewer cards than before", "Look for a lost card on the node."),
        chinese=("节点显卡减少", "检查该节点是否丢卡。"),
    ),
    _rule(
        "export_failing",
        "warning",
        watched=("export_failing_s", "s"),
        fire=(600.0, 0.0),
        clear=(0.0, 60.0),
        english=("telemetry can't be exported", "See whether the OTLP collector can be reached."),
        chinese=("遥测导出失败", "检查 OTLP 收集器是否可达。"),
    ),
    _rule(
        "slow_synthesis",
        "warning",
        watched=("real_time_factor", "x real time"),
        fire=(1.0, 300.0),
        clear=(0.8, 300.0),
        english=(
            "speech takes longer than it lasts",
            "Add cards or slots, or look for slowed cards.",
        ),
        chinese=("合成慢于实时", "增加显卡或槽位，或检查是否有降频的卡。"),
    ),
    _rule(
        "failing_synthesis",
        "critical",
        watched=("error_rate", "of the attempts"),
        fire=(0.2, 60.0),
        clear=(0.05, 300.0),
        english=("many segments fail", "See the failures by cause in the report and the logs."),
        chinese=("大量片段合成失败", "请在报告和日志中查看失败原因。"),
    ),
    _rule(
        "long_queue",
        "warning",
        watched=("queue_age_s", "s"),
        fire=(60.0, 60.0),
        clear=(10.0, 60.0),
        english=(
            "requests wait long for a card",
            "Add cards, or lower what clients may send at once.",
        ),
        chinese=("排队时间过长", "增加显卡，或限制客户端并发。"),
    ),
)

RULES: Final = (*_CARD_RULES, *_FLEET_RULES)
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

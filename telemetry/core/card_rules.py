"""The alerts that a node tells of its cards, as a table.

Times and limits follow what public monitors of GPU fleets use: temperatures above 80 and 85 C,
0.6 slowdowns a minute over ten minutes, five minutes of slowdown or power brake, a margin of 2 C
beyond the slowdown point, uncorrected memory errors, rows that can't be replaced.
"""

from __future__ import annotations

from typing import Final

from telemetry.core.rule_row import rule_of

CARD_RULES: Final = (
    rule_of(
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
    rule_of(
        "card_hot",
        "warning",
        watched=("temp_c", "C"),
        fire=(80.0, 300.0),
        clear=(75.0, 60.0),
        english=("card hot", "Check fans, air flow and room; a lower power limit helps."),
        chinese=("显卡温度高", "检查风扇、风道和机房温度；降低功率上限会有帮助。"),
    ),
    rule_of(
        "card_very_hot",
        "critical",
        watched=("temp_c", "C"),
        fire=(85.0, 60.0),
        clear=(80.0, 60.0),
        english=("card very hot", "Take load off the card now and check its cooling."),
        chinese=("显卡温度过高", "立即减轻该卡负载并检查散热。"),
    ),
    rule_of(
        "card_beyond_slowdown",
        "critical",
        watched=("over_slowdown_c", "C"),
        fire=(2.0, 0.0),
        clear=(0.0, 60.0),
        english=("card beyond its slowdown point", "Stop work on the card and check its cooling."),
        chinese=("显卡超过降频温度", "停止该卡任务并检查散热。"),
    ),
    rule_of(
        "card_slowed",
        "critical",
        watched=("slowdown", ""),
        fire=(0.0, 300.0),
        clear=(0.0, 60.0),
        english=("hardware holds the card's clocks down", "Check cooling and power of the card."),
        chinese=("硬件降频", "检查该卡散热和供电。"),
    ),
    rule_of(
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
    rule_of(
        "card_power_brake",
        "warning",
        watched=("power_brake", ""),
        fire=(0.0, 300.0),
        clear=(0.0, 60.0),
        english=("power supply holds the card's clocks down", "Check power supply and cables."),
        chinese=("供电限制导致降频", "检查电源和供电线。"),
    ),
    rule_of(
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
    rule_of(
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
    rule_of(
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
    rule_of(
        "card_memory_full",
        "warning",
        watched=("memory_fill", "of its memory"),
        fire=(0.97, 60.0),
        clear=(0.93, 60.0),
        english=("card memory nearly full", "Lower the slots, or find what else runs on the card."),
        chinese=("显存将满", "减少并发槽位，或查找占用显存的其他程序。"),
    ),
    rule_of(
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
    rule_of(
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
    rule_of(
        "card_ecc",
        "critical",
        watched=("ecc_uncorrected", "errors"),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=("uncorrected memory errors", "Reset the card; replace it if they come back."),
        chinese=("显存不可纠正错误", "重置该卡；若再次出现请更换。"),
    ),
    rule_of(
        "card_row_pending",
        "warning",
        watched=("rows_pending", ""),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=("a memory row waits to be replaced", "Reset the card when it is idle."),
        chinese=("显存行待替换", "空闲时重置该卡。"),
    ),
    rule_of(
        "card_row_failed",
        "critical",
        watched=("rows_failed", ""),
        fire=(0.0, 0.0),
        clear=(0.0, 0.0),
        english=("a memory row could not be replaced", "Replace the card."),
        chinese=("显存行替换失败", "更换该卡。"),
    ),
)

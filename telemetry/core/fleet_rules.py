"""The alerts that the fleet's watch tells of nodes and models, as a table."""

from __future__ import annotations

from typing import Final

from telemetry.core.rule_row import rule_of

FLEET_RULES: Final = (
    rule_of(
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
    rule_of(
        "cards_missing",
        "critical",
        watched=("cards_missing", "cards"),
        fire=(0.0, 60.0),
        clear=(0.0, 60.0),
        english=("a node shows fewer cards than before", "Look for a lost card on the node."),
        chinese=("节点显卡减少", "检查该节点是否丢卡。"),
    ),
    rule_of(
        "export_failing",
        "warning",
        watched=("export_failing_s", "s"),
        fire=(600.0, 0.0),
        clear=(0.0, 60.0),
        english=("telemetry can't be exported", "See whether the OTLP collector can be reached."),
        chinese=("遥测导出失败", "检查 OTLP 收集器是否可达。"),
    ),
    rule_of(
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
    rule_of(
        "failing_synthesis",
        "critical",
        watched=("error_rate", "of the attempts"),
        fire=(0.2, 60.0),
        clear=(0.05, 300.0),
        english=("many segments fail", "See the failures by cause in the report and the logs."),
        chinese=("大量片段合成失败", "请在报告和日志中查看失败原因。"),
    ),
    rule_of(
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

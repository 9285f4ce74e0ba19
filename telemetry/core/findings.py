"""What a report makes of its facts: findings, each with what to do about it, in both languages.

The limits are judgements, not measurements; they stand here as named constants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from telemetry.core.channels import ChannelCount
from telemetry.core.model_book import ModelStats
from telemetry.core.report_facts import CardFacts, ReportFacts
from telemetry.core.thermal import ThermalRules
from telemetry.core.xid import XidClass, xid_class

Gravity = Literal["critical", "warning", "advice"]

LEAST_AVAILABLE: Final = 0.99
MOST_SLOWED: Final = 0.01
MUCH_WARM: Final = 0.2
FULL_MEMORY: Final = 0.97
SPARE_MEMORY: Final = 0.5
BUSY: Final = 50.0
MOST_FAILING: Final = 0.01
SLOW_FIRST_AUDIO_S: Final = 3.0
POWER_CAP: Final = 0.85
"""Share of the power limit that costs few percent of speed on most cards and much of the heat."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a sentence.

    Args:
        gravity: ``critical`` and ``warning`` are faults, ``advice`` is room for better.
        subject: Card, model or alert channel, for people.
        english, chinese: What was seen, and what to do.
    """

    gravity: Gravity
    subject: str
    english: tuple[str, str]
    chinese: tuple[str, str]


_ORDER: Final = {"critical": 0, "warning": 1, "advice": 2}


def findings(facts: ReportFacts, rules: ThermalRules) -> tuple[Finding, ...]:
    """All findings, the gravest first."""
    found = [
        *(finding for card in facts.cards for finding in _of_card(card, rules)),
        *(finding for model in facts.models for finding in _of_model(model)),
        *(finding for channel in facts.channels for finding in _of_channel(channel)),
    ]
    return tuple(sorted(found, key=lambda finding: (_ORDER[finding.gravity], finding.subject)))


def _of_card(card: CardFacts, rules: ThermalRules) -> Iterator[Finding]:
    yield from _readings(card)
    yield from _heat(card, rules)
    yield from _memory(card)
    yield from _faults(card)


def _readings(card: CardFacts) -> Iterator[Finding]:
    since = "?" if card.read_at is None else clock_time(card.read_at)
    if card.state == "lost":
        yield Finding(
            "critical",
            card.label,
            (
                f"Its driver can't read it; the last reading is of {since}.",
                "Reset the card or restart the node, and look at the kernel log.",
            ),
            (f"驱动无法读取该卡；最后读数为 {since}。", "重置该卡或重启节点，并查看内核日志。"),
        )
    elif card.state == "absent":
        yield Finding(
            "warning",
            card.label,
            (
                f"Nobody has told of it since {since}.",
                "If its node was not taken out on purpose, see whether it is up.",
            ),
            (f"自 {since} 起没有该卡的消息。", "若节点并非有意移除，请检查其是否在线。"),
        )
    elif card.available < LEAST_AVAILABLE:
        minutes = (1 - card.available) * card.seen_s / 60
        yield Finding(
            "warning",
            card.label,
            (
                f"No readings for {minutes:.0f} min of {card.seen_s / 3600:.1f} h.",
                "Look in the node's kernel log for a hanging or restarted driver.",
            ),
            (
                f"{card.seen_s / 3600:.1f} 小时中有 {minutes:.0f} 分钟无读数。",
                "请在该节点内核日志中查找驱动卡住或重启。",
            ),
        )


def _heat(card: CardFacts, rules: ThermalRules) -> Iterator[Finding]:
    if card.slowed is not None and card.slowed > MOST_SLOWED:
        limit_w = card.sample.power_limit_w
        cap = "" if limit_w is None else f" (nvidia-smi -pl {limit_w * POWER_CAP:.0f})"
        yield Finding(
            "warning",
            card.label,
            (
                f"Heat or power held its clocks down {card.slowed:.1%} of the time.",
                f"Improve cooling, or cap its power at {POWER_CAP:.0%} of the limit{cap}.",
            ),
            (
                f"有 {card.slowed:.1%} 的时间因温度或功率降频。",
                f"改善散热，或把功率上限设为当前的 {POWER_CAP:.0%}{cap}。",
            ),
        )
    margin_c = card.least_margin_c
    far_from_slowdown = margin_c is not None and margin_c >= -rules.margin.ease
    warm = rules.scale == "celsius" and card.warm is not None and card.warm > MUCH_WARM
    if warm and far_from_slowdown:
        yield Finding(
            "advice",
            card.label,
            (
                f"It was eased for heat in {card.warm:.0%} of the minutes, yet never came nearer "
                f"than {margin_c:.0f} C to its slowdown point.",
                "It is made to run that warm: set telemetry.thermal.scale to margin.",
            ),
            (
                f"有 {card.warm:.0%} 的时间因温度减载，但距降频温度始终不小于 {margin_c:.0f} 度。",
                "该卡设计如此：可将 telemetry.thermal.scale 设为 margin。",
            ),
        )


def _memory(card: CardFacts) -> Iterator[Finding]:
    if card.mem_fill is None:
        return
    high = card.mem_fill.high
    if high > FULL_MEMORY:
        yield Finding(
            "warning",
            card.label,
            (f"Its memory was {high:.0%} full at the peak.", "Lower engine.slots by one."),
            (f"显存峰值占用 {high:.0%}。", "将 engine.slots 减一。"),
        )
    elif high < SPARE_MEMORY and card.util is not None and card.util.mean > BUSY:
        yield Finding(
            "advice",
            card.label,
            (
                f"It was busy, and its memory never more than {high:.0%} full.",
                "Try more engine.slots: a batch costs little more than one segment.",
            ),
            (f"负载高而显存最多只用 {high:.0%}。", "可尝试增大 engine.slots，提高批量。"),
        )


def _faults(card: CardFacts) -> Iterator[Finding]:
    for kind, gravity in ((XidClass.CRITICAL, "critical"), (XidClass.WARNING, "warning")):
        faults = [event for event in card.xids if xid_class(event.xid) is kind]
        if faults:
            told = ", ".join(f"Xid {event.xid} ({event.count} x)" for event in faults)
            yield Finding(
                "critical" if gravity == "critical" else "warning",
                card.label,
                (f"The driver reported {told}.", "Drain the node and reset the card."),
                (f"驱动报告 {told}。", "腾空节点并重置该卡。"),
            )
    if card.sample.ecc_uncorrected:
        yield Finding(
            "critical",
            card.label,
            (
                f"{card.sample.ecc_uncorrected} memory errors could not be corrected.",
                "Reset the card; replace it if they come back.",
            ),
            (
                f"{card.sample.ecc_uncorrected} 个显存错误无法纠正。",
                "重置该卡；若再次出现请更换。",
            ),
        )
    if card.sample.rows_failed:
        yield Finding(
            "critical",
            card.label,
            ("A memory row could not be replaced.", "Replace the card."),
            ("有显存行替换失败。", "更换该卡。"),
        )
    elif card.sample.rows_pending:
        yield Finding(
            "warning",
            card.label,
            ("A memory row waits to be replaced.", "Reset the card when it is idle."),
            ("有显存行等待替换。", "空闲时重置该卡。"),
        )


_CAUSES: Final = {
    "engine_out_of_memory": (
        "Lower engine.slots, or find what else uses the cards.",
        "减少 engine.slots，或查找占用显存的其他程序。",
    ),
    "engine_crashed": (
        "Look in the replicas' logs; a card may be failing.",
        "查看副本日志；可能有显卡故障。",
    ),
    "engine_timeout": (
        "Look for slowed cards, or raise the time-outs.",
        "检查是否有降频的卡，或放宽超时。",
    ),
    "bad_audio": (
        "Look at the voices and the texts of these segments.",
        "检查这些片段的音色和文本。",
    ),
}
_UNKNOWN_CAUSE: Final = ("Look in the replicas' logs.", "查看副本日志。")


def _of_model(model: ModelStats) -> Iterator[Finding]:
    attempts = model.spoken + model.failed
    if attempts and model.failed / attempts > MOST_FAILING:
        code, count = model.failures[0]
        action, action_zh = _CAUSES.get(code, _UNKNOWN_CAUSE)
        yield Finding(
            "warning",
            model.model,
            (
                f"{model.failed} of {attempts} segments failed, most of them ({count}) by {code}.",
                action,
            ),
            (f"{attempts} 个片段中 {model.failed} 个失败，多为 {code}（{count}）。", action_zh),
        )
    slowest = model.real_time_factor.percentile(0.95)
    if slowest is not None and slowest > 1:
        yield Finding(
            "warning",
            model.model,
            (
                f"One segment in twenty took {slowest:.1f} x as long as it lasts or longer.",
                "Add cards, or look for slowed ones; a listener would hear gaps.",
            ),
            (
                f"5% 的片段耗时达到自身时长的 {slowest:.1f} 倍以上。",
                "增加显卡或检查降频；听众会听到停顿。",
            ),
        )
    first_s = model.first_audio_s.percentile(0.95)
    if first_s is not None and first_s > SLOW_FIRST_AUDIO_S:
        yield Finding(
            "advice",
            model.model,
            (
                f"One segment in twenty gave its first sound after {first_s:.1f} s or later.",
                "Fewer engine.slots answer sooner; more cards do both.",
            ),
            (
                f"5% 的片段首音晚于 {first_s:.1f} 秒。",
                "减少 engine.slots 可更快出声；增加显卡两者兼得。",
            ),
        )


def _of_channel(channel: ChannelCount) -> Iterator[Finding]:
    lost = channel.failed + channel.dropped
    if lost:
        told = f"{lost} of {lost + channel.sent} messages reached nobody."
        yield Finding(
            "warning",
            channel.name,
            (told, "Check the alert channel's address and secret, and the way there."),
            (
                f"{lost + channel.sent} 条消息中有 {lost} 条未送达。",
                "请检查该告警渠道的地址、密钥和网络。",
            ),
        )


def clock_time(at: float) -> str:
    """A Unix time for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")

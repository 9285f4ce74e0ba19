"""Notices as people read them, in English or Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from telemetry.core.alerts import Notice, NoticeKind

Language = Literal["en", "zh"]

_KINDS: Final[dict[Language, dict[NoticeKind, str]]] = {
    "en": {"fired": "ALERT", "cleared": "OK again", "forgotten": "No longer seen"},
    "zh": {"fired": "告警", "cleared": "恢复", "forgotten": "不再可见"},
}
_SEVERITIES: Final[dict[Language, dict[str, str]]] = {
    "en": {"warning": "warning", "critical": "critical"},
    "zh": {"warning": "警告", "critical": "严重"},
}
_SIMULATED: Final[dict[Language, str]] = {"en": " (simulated)", "zh": "（模拟）"}
_MOST_LINES: Final = 40


@dataclass(frozen=True, slots=True)
class Message:
    """Something to send.

    Args:
        title: One line.
        body: Plain text, some lines.
        urgent: A critical alert has fired.
    """

    title: str
    body: str
    urgent: bool


def message_of(notices: Sequence[Notice], language: Language = "en") -> Message:
    """One message for what happened at one moment, the gravest first.

    Args:
        notices: At least one. Beyond forty only their number is told.
        language: ``en`` or ``zh``.
    """
    ordered = sorted(notices, key=_gravity)
    lines = [line for notice in ordered[:_MOST_LINES] for line in _lines(notice, language)]
    if (more := len(ordered) - _MOST_LINES) > 0:
        lines.append(f"... and {more} more" if language == "en" else f"……另有 {more} 条")
    title = _headline(ordered[0], language)
    if len(ordered) > 1:
        title += f" (+{len(ordered) - 1})"
    urgent = any(n.kind == "fired" and n.rule.severity == "critical" for n in notices)
    return Message(f"vibevoice-serve: {title}", "\n".join(lines), urgent)


def _gravity(notice: Notice) -> tuple[bool, bool, str, str]:
    return (
        notice.kind != "fired",
        notice.rule.severity != "critical",
        notice.rule.name,
        notice.subject.id,
    )


def _headline(notice: Notice, language: Language) -> str:
    title = notice.rule.title if language == "en" else notice.rule.title_zh
    simulated = _SIMULATED[language] if notice.subject.simulated else ""
    return f"{_KINDS[language][notice.kind]}: {title}: {notice.subject.label}{simulated}"


def _lines(notice: Notice, language: Language) -> list[str]:
    """What happened, and when it fires what to do."""
    rule = notice.rule
    value = f"{notice.value:.4g} {rule.unit}".strip()
    severity = _SEVERITIES[language][rule.severity]
    first = f"[{severity}] {_headline(notice, language)}: {value}"
    if notice.kind == "fired":
        limit = f"> {rule.fire_above:g} {rule.unit}".strip()
        action = rule.action if language == "en" else rule.action_zh
        return [f"{first} ({limit})", f"  {action}"]
    minutes = notice.lasted_s / 60
    lasted = f"after {minutes:.1f} min" if language == "en" else f"持续 {minutes:.1f} 分钟"
    return [f"{first} ({lasted})"]
